module profefe-sidecar/test/go/app

go 1.24.0
