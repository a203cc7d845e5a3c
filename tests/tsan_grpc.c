/* Tells ThreadSanitizer what it cannot see: that gRPC's completion queues hand over what a tag stands for.
 *
 * Debian's gRPC is not built for ThreadSanitizer and waits with futexes, so that all that one thread did
 * before it started a batch seems unordered to the thread that gets the batch's tag. Preloaded into a
 * daemon that was built with -fsanitize=thread, these functions stand before gRPC's own and say so. */
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <stdlib.h>

void __tsan_acquire(void *at) __attribute__((weak));
void __tsan_release(void *at) __attribute__((weak));

static void released(void *tag)
{
	if (__tsan_release && tag)
		__tsan_release(tag);
}

static void acquired(void *tag)
{
	if (__tsan_acquire && tag)
		__tsan_acquire(tag);
}

/* gRPC's own function of that name. */
static void *grpcs(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f)
		abort();
	return f;
}

grpc_call_error grpc_call_start_batch(grpc_call *call, const grpc_op *ops, size_t nops, void *tag,
				      void *reserved)
{
	__typeof__(grpc_call_start_batch) *f = grpcs(__func__);

	released(tag);
	return f(call, ops, nops, tag, reserved);
}

grpc_call_error grpc_server_request_call(grpc_server *server, grpc_call **call, grpc_call_details *details,
					 grpc_metadata_array *metadata, grpc_completion_queue *bound,
					 grpc_completion_queue *notified, void *tag)
{
	__typeof__(grpc_server_request_call) *f = grpcs(__func__);

	released(tag);
	return f(server, call, details, metadata, bound, notified, tag);
}

grpc_call_error grpc_server_request_registered_call(grpc_server *server, void *method, grpc_call **call,
						    gpr_timespec *deadline, grpc_metadata_array *metadata,
						    grpc_byte_buffer **payload, grpc_completion_queue *bound,
						    grpc_completion_queue *notified, void *tag)
{
	__typeof__(grpc_server_request_registered_call) *f = grpcs(__func__);

	released(tag);
	return f(server, method, call, deadline, metadata, payload, bound, notified, tag);
}

void grpc_server_shutdown_and_notify(grpc_server *server, grpc_completion_queue *cq, void *tag)
{
	__typeof__(grpc_server_shutdown_and_notify) *f = grpcs(__func__);

	released(tag);
	f(server, cq, tag);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue *cq, gpr_timespec deadline, void *reserved)
{
	__typeof__(grpc_completion_queue_next) *f = grpcs(__func__);
	grpc_event ev = f(cq, deadline, reserved);

	if (ev.type == GRPC_OP_COMPLETE)
		acquired(ev.tag);
	return ev;
}
