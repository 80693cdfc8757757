module profefe-sidecar/test/go/faultapp

go 1.24.0
