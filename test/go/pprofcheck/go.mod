module profefe-sidecar/test/go/pprofcheck

go 1.24.0

require github.com/google/pprof v0.0.0-20241029153458-d1b30febd7db
