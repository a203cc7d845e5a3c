#include "proto/abseil.h"

#include <absl/synchronization/mutex.h>

void abseil_quiet(void)
{
	absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}
