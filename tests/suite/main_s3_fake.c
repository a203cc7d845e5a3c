/* The suite for the S3 backend, on a bucket in memory. */
#include "backends/s3/s3.h"
#include "tests/suite/s3_fake.h"
#include "tests/suite/suite.h"

static int make(const char *dir, struct backend **ret, struct stow_err *err)
{
	struct s3_options o = fake_options();

	fake_reset();
	return s3_new(&o, dir, ret, err);
}

int main(void)
{
	return backend_suite("s3 on a fake", make) == 0 ? 0 : 1;
}
