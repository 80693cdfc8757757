// The peer of profefe-webhook in test/bench: the same job in Go, with k8s.io/api's types and net/http, as a Go team would
// write it. It decides by the annotations enable and port and injects the same container, volume and status as
// profefe-webhook does by default; the other annotations, the warnings, metrics and reloads it does without.
package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// As profefe-webhook's own limits.
const (
	bodyMax     = 4 << 20
	idleTimeout = 120 * time.Second
	readTimeout = 5 * time.Second
)

type server struct {
	injector injector
}

// answer decides about one review. An error means that the body was no review at all.
func (s *server) answer(body []byte) (*admissionv1.AdmissionReview, decision, error) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		return nil, decision{}, fmt.Errorf("not an AdmissionReview: %w", err)
	}
	request := review.Request
	if request == nil || request.UID == "" {
		return nil, decision{}, errors.New("not an AdmissionReview: no request with a uid")
	}
	reply := &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: &admissionv1.AdmissionResponse{UID: request.UID, Allowed: true},
	}
	made := decision{result: "skipped", reason: "unsupported-object"}
	if request.Operation == admissionv1.Create && request.Resource.Resource == "pods" && request.SubResource == "" {
		var pod corev1.Pod
		if err := json.Unmarshal(request.Object.Raw, &pod); err != nil {
			return nil, decision{}, fmt.Errorf("not a Pod: %w", err)
		}
		var patch []operation
		made, patch = s.injector.decide(&pod, request.Namespace)
		if len(patch) > 0 {
			bytes, err := json.Marshal(patch)
			if err != nil {
				return nil, decision{}, err
			}
			patchType := admissionv1.PatchTypeJSONPatch
			reply.Response.Patch, reply.Response.PatchType = bytes, &patchType
		}
	}
	reply.Response.AuditAnnotations = map[string]string{"decision": made.result}
	return reply, made, nil
}

func (s *server) mutate(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyMax))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply, made, err := s.answer(body)
	if err != nil {
		slog.Warn("refused", "err", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	bytes, err := json.Marshal(reply)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(bytes)
	slog.Info("review", "namespace", made.namespace, "pod", made.pod, "uid", reply.Response.UID, "decision", made.result,
		"reason", made.reason, "service", made.service, "us", time.Since(started).Microseconds())
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address of /mutate, with TLS")
	cert := flag.String("cert", "", "certificate chain, PEM")
	key := flag.String("key", "", "its private key, PEM")
	s := &server{}
	flag.StringVar(&s.injector.image, "image", "", "agent image")
	flag.StringVar(&s.injector.collector, "collector", "", "base URL of profefe")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))

	mux := http.NewServeMux()
	mux.HandleFunc("POST /mutate", s.mutate)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		Handler: mux, ReadTimeout: readTimeout, WriteTimeout: readTimeout, IdleTimeout: idleTimeout,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
	}
	log.Fatal(server.ServeTLS(listener, *cert, *key))
}
