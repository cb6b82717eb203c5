const t=nodemailer.createTransport({host:'smtp.example.com',port:587,secure:true,auth:{user:process.env.U,pass:process.env.P}});
