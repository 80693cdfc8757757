// Command pprofcheck holds common/pprof/pprof.c and common/pprof/relabel.c against google/pprof, the reader that decides in the end:
//
//	pprofcheck verdicts FIXTURES         the verdict that each folder's name states is google/pprof's own
//	pprofcheck relabel TOOL FIXTURES     what TOOL rewrites equals the original plus labels and comments
//	pprofcheck agree CHECKER FOLDER      any bytes: a corpus of the fuzzer
//	pprofcheck bench TOOL [-stacks N] [-file PROFILE]    CPU time of both on the same profile
//
// FIXTURES is test/fixtures/pprof, TOOL the built test_relabel, CHECKER the built test_pprof.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

const usage = `usage: pprofcheck verdicts FIXTURES
       pprofcheck relabel TOOL FIXTURES
       pprofcheck agree CHECKER FOLDER
       pprofcheck bench TOOL [-stacks N] [-file PROFILE]`

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var err error
	switch {
	case len(args) == 2 && args[0] == "verdicts":
		err = checkVerdicts(args[1])
	case len(args) == 3 && args[0] == "relabel":
		err = checkRelabel(args[1], args[2])
	case len(args) == 3 && args[0] == "agree":
		err = checkAgreement(args[1], args[2])
	case len(args) >= 2 && args[0] == "bench":
		err = bench(args[1], args[2:])
	default:
		fmt.Fprintln(os.Stderr, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pprofcheck:", err)
		return 1
	}
	return 0
}

// eachFile calls check for every file of a folder and tells how many failed. A folder without files is an error: a check that
// looked at nothing proves nothing.
func eachFile(folder string, check func(path string) error) (checked, failed int, err error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		return 0, 0, err
	}
	if len(paths) == 0 {
		return 0, 0, fmt.Errorf("%s: no file", folder)
	}
	for _, path := range paths {
		checked++
		if err := check(path); err != nil {
			failed++
			fmt.Printf("%s: %v\n", path, err)
		}
	}
	return checked, failed, nil
}

// report prints the one line at the end.
func report(what string, checked, failed int) error {
	fmt.Printf("%s: %d profiles, %d failed\n", what, checked, failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d failed", failed, checked)
	}
	return nil
}
