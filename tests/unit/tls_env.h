/* TLS for http_env.h: an authority of its own, which is the server's certificate too. */
#ifndef STOWAGE_TESTS_TLS_ENV_H
#define STOWAGE_TESTS_TLS_ENV_H

/* The server's context for 127.0.0.1, for http_env_new_tls; its certificate is written to `pem`. With
 * `old`, TLS 1.1 at most. */
void *tls_env_new(const char *pem, int old);
void tls_env_free(void *ctx);

#endif
