/* Settings of Abseil, on whose mutexes gRPC stands. */
#ifndef STOWAGE_PROTO_ABSEIL_H
#define STOWAGE_PROTO_ABSEIL_H

#ifdef __cplusplus
extern "C" {
#endif

/* Where Abseil is built without NDEBUG, as Debian's is, each locking of each mutex takes one lock that
 * the whole process shares, to look for deadlocks. Turns that off. To be called before gRPC starts. */
void abseil_quiet(void);

#ifdef __cplusplus
}
#endif

#endif
