package main

import (
	"net/http"
	"net/http/pprof"
)

// pprofHandler serves net/http/pprof under any prefix. The package's own routes are bound to /debug/pprof, so each name is
// routed here and the prefix taken off first.
func pprofHandler(prefix string) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("/{$}", pprof.Index)
	routes.HandleFunc("/profile", pprof.Profile)
	routes.HandleFunc("/trace", pprof.Trace)
	routes.HandleFunc("/cmdline", pprof.Cmdline)
	routes.HandleFunc("/symbol", pprof.Symbol)
	routes.HandleFunc("/{name}", func(w http.ResponseWriter, r *http.Request) {
		pprof.Handler(r.PathValue("name")).ServeHTTP(w, r)
	})

	outer := http.NewServeMux()
	outer.Handle(prefix+"/", http.StripPrefix(prefix, routes))
	return outer
}
