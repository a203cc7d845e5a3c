/* Every cap in one place: whatever a client can make grow stops here. */
#ifndef STOWAGE_BASE_LIMITS_H
#define STOWAGE_BASE_LIMITS_H

enum {
	LIMIT_REF = 4096,            /* bytes of a ref; containerd's namespaced ones reach 300 */
	LIMIT_LABEL = 4096,          /* key + value, as containerd's labels.Validate has it */
	LIMIT_LABELS = 1024,         /* labels of one blob */
	LIMIT_FILTERS = 64,          /* alternatives of one request */
	LIMIT_FILTER = 16 * 1024,    /* bytes of one filter */
	LIMIT_FILTER_REGEXES = 64,   /* "~=" of one request; each may cost a megabyte and 10 ms */
	LIMIT_INGESTS = 65536,       /* that the database knows: parked ones, and open ones from their
				      * first checkpoint on; open ones are streams, which gRPC limits */
	LIMIT_STREAMS = 1024,        /* calls at once on one connection */
	LIMIT_FAR_THREADS = 256,     /* calls that wait for another machine at once; others of them queue */
	LIMIT_READ_CHUNK = 1 << 17,  /* data bytes of one ReadContentResponse; a client may have
				      * grpc-go's default receive limit of 4 MiB */
	LIMIT_LIST_BLOCK = 1000,     /* blobs of one ListContentResponse */
	LIMIT_OPEN_BLOBS = 256,      /* descriptors that the table of open blobs keeps */
	LIMIT_PIPELINE = 4 << 20,    /* acknowledged bytes of one stream not yet on their way to disk */
	LIMIT_CHECKPOINT = 16 << 20, /* bytes of an ingest between two durable resume points */
};

#endif
