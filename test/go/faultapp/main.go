// Command faultapp serves net/http/pprof in the ways that break long profiles: behind a middleware that wraps the
// ResponseWriter without Unwrap on a server with a WriteTimeout, behind http.TimeoutHandler, and, to compare, plainly on a
// server with the same WriteTimeout. Each is a server of its own on a free loopback port.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	writeTimeout := flag.Duration("write-timeout", 2*time.Second, "WriteTimeout of the servers `wrapped` and `plain`")
	limit := flag.Duration("limit", 2*time.Second, "of http.TimeoutHandler on the server `limited`")
	flag.Parse()
	if err := run(*writeTimeout, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "faultapp:", err)
		os.Exit(1)
	}
}

func run(writeTimeout, limit time.Duration) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go work()

	failed := make(chan error, 3)
	wrapped, err := serve(&http.Server{Handler: wrap(routes()), WriteTimeout: writeTimeout}, failed)
	if err != nil {
		return err
	}
	limited, err := serve(&http.Server{Handler: http.TimeoutHandler(routes(), limit, "too slow")}, failed)
	if err != nil {
		return err
	}
	plain, err := serve(&http.Server{Handler: routes(), WriteTimeout: writeTimeout}, failed)
	if err != nil {
		return err
	}
	fmt.Printf("serving wrapped=%s limited=%s plain=%s\n", wrapped, limited, plain)
	select {
	case err := <-failed:
		return err
	case <-stop:
		return nil
	}
}

// serve starts a server on a free port and returns the URL of its profiles.
func serve(server *http.Server, failed chan<- error) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { failed <- server.Serve(listener) }()
	return fmt.Sprintf("http://%s/debug/pprof", listener.Addr()), nil
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// recorder is what many a logging middleware does: it remembers the status and hides everything else that the
// ResponseWriter can do, so that the profile's handler cannot lift the write deadline.
type recorder struct {
	writer http.ResponseWriter
	status int
}

func (r *recorder) Header() http.Header             { return r.writer.Header() }
func (r *recorder) Write(bytes []byte) (int, error) { return r.writer.Write(bytes) }
func (r *recorder) WriteHeader(status int)          { r.status = status; r.writer.WriteHeader(status) }

func wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&recorder{writer: w, status: http.StatusOK}, r)
	})
}

// work gives the profiles something to show. It never sleeps: a second of CPU profile must not be empty where others want the
// CPU too.
func work() {
	var held [64][]byte
	for next := 0; ; next = (next + 1) % len(held) {
		held[next] = make([]byte, 32<<10)
		for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; {
		}
	}
}
