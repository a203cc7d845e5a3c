#include "tests/unit/tls_env.h"

#include "tests/unit/http_env.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	MUST(e != NULL && X509_add_ext(cert, e, -1) == 1);
	X509_EXTENSION_free(e);
}

static X509 *certificate(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	MUST(X509_set_version(cert, X509_VERSION_3) == 1 &&
	     ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) == 1 &&
	     X509_gmtime_adj(X509_getm_notBefore(cert), -60) != NULL &&
	     X509_gmtime_adj(X509_getm_notAfter(cert), 3600) != NULL &&
	     X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0) ==
		     1 &&
	     X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, key) == 1);
	add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(cert, NID_subject_alt_name, "IP:127.0.0.1");
	MUST(X509_sign(cert, key, EVP_sha256()) > 0);
	return cert;
}

void *tls_env_new(const char *pem, int old)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = certificate(key);
	FILE *f = fopen(pem, "w");

	MUST(ctx != NULL && f != NULL && PEM_write_X509(f, cert) == 1 && fclose(f) == 0);
	MUST(SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
	MUST(SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"t", 1) == 1);
	if (old) {
		SSL_CTX_set_security_level(ctx, 0);
		MUST(SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION) == 1 &&
		     SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION) == 1);
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	return ctx;
}

void tls_env_free(void *ctx)
{
	SSL_CTX_free(ctx);
}
