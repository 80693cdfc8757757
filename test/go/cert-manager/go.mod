// cert-manager's own resource definitions (deploy/crds), against which the cluster test checks overlays/cert-manager.
module profefe-sidecar/test/go/cert-manager

go 1.24.0

require github.com/cert-manager/cert-manager v1.18.2
