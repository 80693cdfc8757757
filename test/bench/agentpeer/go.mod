// The agent of this project as a Go team would write it: the peer of test/bench.
module profefe-sidecar/test/bench/agentpeer

go 1.24.0

require github.com/google/pprof v0.0.0-20241029153458-d1b30febd7db
