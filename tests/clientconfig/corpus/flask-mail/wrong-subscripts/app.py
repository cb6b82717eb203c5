from flask import Flask
from flask_mail import Mail

app = Flask(__name__)
app.config["MAIL_SERVER"] = "smtp.gmail.com"
app.config["MAIL_PORT"] = 465
app.config["MAIL_USE_TLS"] = True
app.config["MAIL_USERNAME"] = "someone@gmail.com"
app.config["MAIL_PASSWORD"] = os.environ["P"]
app.config["MAIL_DEFAULT_SENDER"] = "someone@gmail.com"
mail = Mail(app)
