package main

import (
	"fmt"
	"net/http"
	"net/http/pprof"
)

// pprofHandler serves net/http/pprof under any prefix, and at /work how much work was done. The package's own routes are bound
// to /debug/pprof, so each name is routed here and the prefix taken off first.
func pprofHandler(prefix string, large int) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("/{$}", pprof.Index)
	routes.HandleFunc("/profile", pprof.Profile)
	routes.HandleFunc("/trace", pprof.Trace)
	routes.HandleFunc("/cmdline", pprof.Cmdline)
	routes.HandleFunc("/symbol", pprof.Symbol)
	if large > 0 {
		routes.HandleFunc("/large", largeHandler(large))
	}
	routes.HandleFunc("/{name}", func(w http.ResponseWriter, r *http.Request) {
		pprof.Handler(r.PathValue("name")).ServeHTTP(w, r)
	})

	outer := http.NewServeMux()
	outer.HandleFunc("/work", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, workDone.Load()) })
	outer.Handle(prefix+"/", http.StripPrefix(prefix, routes))
	return outer
}
