// The peer of profefe-agent in test/bench: the same job in Go, with net/http and google/pprof, as a Go team would write it.
// It reads the same environment, scrapes each type of each target on its interval, adds the labels to the samples and pushes
// to profefe, with three tries. A spool, the spreading of a fleet over time, credentials and checks it does without.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/pprof/profile"
)

const (
	bodyMax    = 64 << 20
	tries      = 3
	retryAfter = time.Second
	timeout    = 30 * time.Second // of one request, beyond the seconds of the profile
)

type label struct{ key, value string }

type agent struct {
	collector, service, instance string
	labels                       []label
	sampleLabels                 bool
	app, profefe                 http.Client
	pushed, failed               atomic.Uint64
}

// task is one type of one target.
type task struct {
	target, kind   string
	every, seconds time.Duration
}

// paths are those of net/http/pprof that are not the type's name.
var paths = map[string]string{"cpu": "profile"}

// profefeTypes are profefe's names of the types that it does not know.
var profefeTypes = map[string]string{"allocs": "other"}

func (a *agent) scrape(ctx context.Context, t task) ([]byte, error) {
	path := t.kind
	if p, ok := paths[t.kind]; ok {
		path = p
	}
	address := t.target + "/" + path
	if t.seconds > 0 {
		address += fmt.Sprintf("?seconds=%d", int(t.seconds.Seconds()))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+t.seconds)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return do(&a.app, request)
}

// do returns the body of a reply with status 200.
func do(client *http.Client, request *http.Request) ([]byte, error) {
	reply, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(io.LimitReader(reply.Body, bodyMax))
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s", request.Method, request.URL.Path, reply.Status)
	}
	return body, nil
}

// addLabels gives each sample the labels that it does not have yet.
func (a *agent) addLabels(data []byte) ([]byte, error) {
	p, err := profile.ParseData(data)
	if err != nil {
		return nil, err
	}
	for _, sample := range p.Sample {
		if sample.Label == nil {
			sample.Label = make(map[string][]string, len(a.labels))
		}
		for _, l := range a.labels {
			if _, has := sample.Label[l.key]; !has {
				sample.Label[l.key] = []string{l.value}
			}
		}
	}
	var out bytes.Buffer
	if err := p.Write(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (a *agent) push(ctx context.Context, kind string, at time.Time, data []byte) error {
	pairs := make([]string, len(a.labels))
	for i, l := range a.labels {
		pairs[i] = url.QueryEscape(l.key) + "=" + url.QueryEscape(l.value)
	}
	if known, ok := profefeTypes[kind]; ok {
		kind = known
	}
	query := url.Values{"service": {a.service}, "type": {kind}, "instance_id": {a.instance},
		"created_at": {at.UTC().Format("2006-01-02T15:04:05")}, "labels": {strings.Join(pairs, ",")}}
	address := a.collector + "/api/0/profiles?" + query.Encode()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(data))
	if err != nil {
		return err
	}
	_, err = do(&a.profefe, request)
	return err
}

func (a *agent) run(ctx context.Context, t task) error {
	at := time.Now()
	data, err := a.scrape(ctx, t)
	if err != nil {
		return err
	}
	if a.sampleLabels {
		if data, err = a.addLabels(data); err != nil {
			return err
		}
	}
	for try := 1; ; try++ {
		if err = a.push(ctx, t.kind, at, data); err == nil || try == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryAfter):
		}
	}
}

// repeat runs the task now and at each of its intervals.
func (a *agent) repeat(ctx context.Context, t task) {
	ticker := time.NewTicker(t.every)
	defer ticker.Stop()
	for {
		if err := a.run(ctx, t); err != nil {
			a.failed.Add(1)
			slog.Warn("no profile", "target", t.target, "type", t.kind, "err", err)
		} else {
			a.pushed.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// parseTasks reads TYPE:EVERY[=SECONDS] for each of the targets.
func parseTasks(types, targets string) ([]task, error) {
	var tasks []task
	for _, item := range strings.Split(types, ",") {
		kind, times, _ := strings.Cut(item, ":")
		every, seconds, timed := strings.Cut(times, "=")
		t := task{kind: kind}
		var err, secondsErr error
		t.every, err = time.ParseDuration(every)
		if timed {
			t.seconds, secondsErr = time.ParseDuration(seconds)
		}
		if err = errors.Join(err, secondsErr); err != nil {
			return nil, err
		}
		for _, target := range strings.Split(targets, ",") {
			_, t.target, _ = strings.Cut(target, "=")
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// collectorClient trusts ca.crt of the Secret's directory, when there is one.
func collectorClient(secretDir string) (http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if secretDir != "" {
		ca, err := os.ReadFile(filepath.Join(secretDir, "ca.crt"))
		if err != nil {
			return http.Client{}, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(ca) {
			return http.Client{}, errors.New("ca.crt: no certificate in it")
		}
	}
	return http.Client{Transport: transport}, nil
}

func fromEnvironment() (*agent, []task, error) {
	a := &agent{collector: os.Getenv("PROFEFE_AGENT_COLLECTOR"), service: os.Getenv("PROFEFE_AGENT_SERVICE"),
		instance: os.Getenv("POD_NAME"), sampleLabels: os.Getenv("PROFEFE_AGENT_SAMPLE_LABELS") != "false"}
	a.labels = []label{{"pod", a.instance}, {"namespace", os.Getenv("POD_NAMESPACE")}, {"node", os.Getenv("NODE_NAME")},
		{"container", os.Getenv("PROFEFE_AGENT_CONTAINER")}}
	for _, pair := range strings.Split(os.Getenv("PROFEFE_AGENT_LABELS"), ",") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			a.labels = append(a.labels, label{key, value})
		}
	}
	tasks, err := parseTasks(os.Getenv("PROFEFE_AGENT_TYPES"), os.Getenv("PROFEFE_AGENT_TARGETS"))
	if err != nil {
		return nil, nil, err
	}
	a.profefe, err = collectorClient(os.Getenv("PROFEFE_AGENT_SECRET_DIR"))
	return a, tasks, err
}

func (a *agent) serve(listen string) {
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	http.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "pushes_total{result=\"ok\"} %d\npushes_total{result=\"failed\"} %d\n", a.pushed.Load(), a.failed.Load())
	})
	log.Fatal(http.ListenAndServe(listen, nil))
}

func main() {
	once := flag.Bool("once", false, "take each type once and leave")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a, tasks, err := fromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	if *once {
		for _, t := range tasks {
			if err := a.run(ctx, t); err != nil {
				log.Fatal(err)
			}
		}
		return
	}
	go a.serve(os.Getenv("PROFEFE_AGENT_LISTEN"))
	var all sync.WaitGroup
	for _, t := range tasks {
		all.Add(1)
		go func() { defer all.Done(); a.repeat(ctx, t) }()
	}
	all.Wait()
}
