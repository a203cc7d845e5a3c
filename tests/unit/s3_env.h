/* An S3 client whose server answers from a script, one step a request, and keeps what it was asked. */
#ifndef STOWAGE_TESTS_S3_ENV_H
#define STOWAGE_TESTS_S3_ENV_H

#include "backends/s3/client.h"
#include "backends/s3/http.h"
#include "backends/s3/request.h"
#include "tests/unit/http_env.h"

#include <pthread.h>

struct s3_step {
	const char *status;         /* "200 OK" */
	const char *headers, *body; /* NULL: none */
	enum env_after after;
	size_t cut; /* as in http_env.h */
	bool head;  /* Content-Length is the header's that the step gives: an answer to HEAD */
	int delay_ms;
};

enum { S3_ENV_SEEN = 256 };

struct s3_env {
	struct http_env *server;
	struct http *http;
	struct s3_client *client;
	struct s3_options o; /* may be changed before s3_env_start */
	char endpoint[64];

	pthread_mutex_t lock; /* guards the script and what has been seen */
	/* The last step is repeated. Set before the requests that it answers. */
	const struct s3_step *steps;
	size_t steps_n;

	atomic_uint seen_n;
	char *seen[S3_ENV_SEEN]; /* heads of the requests, then what was in the body */

	/* Of the credentials. */
	atomic_int generation, refreshes, held;
	atomic_int not_yet; /* so many times they are being asked for */
	enum stow_code refuse;
	bool no_token;
};

/* A bucket "layers" in us-east-1, 4 attempts. */
void s3_env_init(struct s3_env *e);
void s3_env_start(struct s3_env *e);
void s3_env_script(struct s3_env *e, const struct s3_step *steps, size_t n);
#define SCRIPT(e, ...)                                                                                       \
	s3_env_script(e, (const struct s3_step[]){ __VA_ARGS__ },                                            \
		      sizeof((const struct s3_step[]){ __VA_ARGS__ }) / sizeof(struct s3_step))
#define S3_ERROR(code) "<Error><Code>" code "</Code><Message>as the test wants it</Message></Error>"
/* What s3_env_head and s3_env_range are content with. */
#define S3_OK_HEAD                                                                                           \
	{                                                                                                    \
		.status = "200 OK", .headers = "Content-Length: 7\r\nETag: \"e\"\r\n", .head = true          \
	}
#define S3_OK_RANGE                                                                                          \
	{                                                                                                    \
		.status = "206 Partial Content",                                                             \
		.headers = "Content-Range: bytes 5-14/100\r\nETag: \"e\"\r\n", .body = "0123456789"          \
	}
/* Checks that all credentials have been given back. */
void s3_env_end(struct s3_env *e);

/* Look at the object "a/key", and read ten bytes of it: 0, or -1 with *err set. */
int s3_env_head(struct s3_env *e, struct stow_err *err);
int s3_env_range(struct s3_env *e, struct stow_err *err);
/* The failure has this code, and `text` in its message. */
void s3_env_expect(const struct stow_err *err, enum stow_code code, const char *text);

/* Request `i`, from 0: the value of a header, "" where there is none. Good until the next call. */
const char *s3_env_header(struct s3_env *e, unsigned i, const char *name);
/* Its first line, without the version; good until the next call. */
const char *s3_env_line(struct s3_env *e, unsigned i);
/* Its body. */
const char *s3_env_body(struct s3_env *e, unsigned i);

#endif
