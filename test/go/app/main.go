// Command app is a small Go service for the demo and the tests: busy for a bounded share of one core, with something to
// see in every profile type, and net/http/pprof on a loopback port.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	exitUsage = 2
	// A stuck client must not hold a connection for ever. There is no write timeout: a CPU profile of any length is fine.
	headerTimeout = 10 * time.Second
)

type config struct {
	listen        string
	prefix        string
	load          float64
	blockRate     int
	mutexFraction int
	large         int
	lifetime      time.Duration
}

func main() {
	conf, err := parseArgs(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(exitUsage)
	}
	if err := run(conf); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

// run serves until a signal or the end of the lifetime; both are a success.
func run(conf config) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)

	listener, err := net.Listen("tcp", conf.listen)
	if err != nil {
		return err
	}
	startWork(conf)

	server := &http.Server{Handler: pprofHandler(conf.prefix, conf.large), ReadHeaderTimeout: headerTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Printf("serving http://%s%s/ with a load of %.2f of one core\n", listener.Addr(), conf.prefix, conf.load)

	var ended <-chan time.Time // nil, so never, without a lifetime
	if conf.lifetime > 0 {
		ended = time.After(conf.lifetime)
	}
	select {
	case err := <-failed:
		return err
	case <-stop:
	case <-ended:
	}
	return nil // at once: whoever is in the middle of a profile sees the connection close
}

func parseArgs(args []string) (config, error) {
	var conf config
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	flags.StringVar(&conf.listen, "listen", "127.0.0.1:6060", "`ADDRESS` of the pprof server; port 0 takes a free one and prints it")
	flags.StringVar(&conf.prefix, "prefix", "/debug/pprof", "`PATH` under which the profiles are served")
	flags.Float64Var(&conf.load, "load", 0.3, "share of one core to burn, 0.0 to 1.0")
	flags.IntVar(&conf.blockRate, "block-rate", 0, "runtime.SetBlockProfileRate in `NANOSECONDS`; 0 leaves the block profile empty")
	flags.IntVar(&conf.mutexFraction, "mutex-fraction", 0, "runtime.SetMutexProfileFraction `N`; 0 leaves the mutex profile empty")
	flags.IntVar(&conf.large, "large", 0, "serve a profile of so many `BYTES`, before gzip, under the name large; 0 serves none")
	flags.DurationVar(&conf.lifetime, "for", 0, "end by itself, with exit code 0, after this `DURATION`; 0 runs until SIGTERM")
	if err := flags.Parse(args); err != nil {
		return conf, err
	}
	conf.prefix = strings.TrimRight(conf.prefix, "/")
	return conf, conf.check(flags.Args())
}

func (conf config) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case !(conf.load >= 0 && conf.load <= 1): // written so that NaN is refused too
		return fmt.Errorf("-load %v: expected 0.0 to 1.0", conf.load)
	case conf.blockRate < 0:
		return fmt.Errorf("-block-rate %d: expected 0 or more nanoseconds", conf.blockRate)
	case conf.mutexFraction < 0:
		return fmt.Errorf("-mutex-fraction %d: expected 0 or more", conf.mutexFraction)
	case conf.large < 0:
		return fmt.Errorf("-large %d: expected 0 or more bytes", conf.large)
	case conf.lifetime < 0:
		return fmt.Errorf("-for %v: expected 0 or more", conf.lifetime)
	case conf.prefix != "" && !strings.HasPrefix(conf.prefix, "/"):
		return fmt.Errorf("-prefix %q: expected a path that begins with /", conf.prefix)
	}
	return nil
}
