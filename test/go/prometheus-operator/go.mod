// The Prometheus operator's own resource definitions (example/prometheus-operator-crd), against which the cluster test checks
// overlays/monitoring.
module profefe-sidecar/test/go/prometheus-operator

go 1.24.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
