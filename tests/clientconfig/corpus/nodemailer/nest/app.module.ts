import { MailerModule } from '@nestjs-modules/mailer';
@Module({ imports: [ MailerModule.forRootAsync({
  useFactory: (config: ConfigService) => ({
    transport: {
      host: config.get('MAIL_HOST'),
      port: 465,
      secure: true,
      auth: { user: config.get('MAIL_USER'), pass: config.get('MAIL_PASSWORD') },
    },
    defaults: { from: '"No Reply" <noreply@example.com>' },
  }), inject: [ConfigService] }) ] })
export class AppModule {}
