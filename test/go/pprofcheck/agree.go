package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/pprof/profile"
)

// rawMax is where inflating for google/pprof ends; the checker's own ceiling is higher, so that such a file is left out.
const rawMax = 64 << 20

var errTooBig = errors.New("too big to compare")

// needsTables matches what google/pprof finds only with all ids of a profile in memory, which the check has up to a ceiling.
var needsTables = regexp.MustCompile(`multiple (mappings|functions|locations) with same id|sample has nil location|` +
	`has a line with nil function|inconsistent (mapping|function)`)

// checkAgreement compares both verdicts on files of any content.
func checkAgreement(checker, folder string) error {
	verdicts, err := verdictsOf(checker, folder)
	if err != nil {
		return err
	}
	counts := map[string]int{}
	checked, failed, err := eachFile(folder, func(path string) error {
		verdict := verdicts[path]
		counts[verdict]++
		return agree(path, verdict)
	})
	if err != nil {
		return err
	}
	fmt.Println(counts)
	return report("agree", checked, failed)
}

func verdictsOf(checker, folder string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		return nil, err
	}
	verdicts := map[string]string{}
	for len(paths) > 0 {
		some := paths[:min(len(paths), 500)] // well within the system's limit of arguments
		paths = paths[len(some):]
		said, err := exec.Command(checker, append([]string{"--verdict"}, some...)...).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", checker, err)
		}
		for line := range strings.Lines(string(said)) {
			verdict, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			verdicts[path] = verdict
		}
	}
	return verdicts, nil
}

func agree(path, verdict string) error {
	p, err := parseAny(path)
	if errors.Is(err, errTooBig) {
		return nil
	}
	switch verdict {
	case "unchecked":
		if err != nil && !needsTables.MatchString(err.Error()) {
			return fmt.Errorf("%s, but google/pprof says: %w", verdict, err)
		}
	case "ok", "empty":
		if err != nil {
			return fmt.Errorf("%s, but google/pprof says: %w", verdict, err)
		}
		if (len(p.Sample) == 0) != (verdict == "empty") {
			return fmt.Errorf("%s, but google/pprof finds %d samples", verdict, len(p.Sample))
		}
	case "text", "malformed", "truncated":
		if err == nil {
			return fmt.Errorf("%s, but google/pprof reads %d samples", verdict, len(p.Sample))
		}
	default:
		return fmt.Errorf("no verdict to compare: %q", verdict)
	}
	return nil
}

// parseAny is profile.ParseData without the formats from before profile.proto.
func parseAny(path string) (*profile.Profile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) >= 2 && data[0] == 0x1f && data[1] == 0x8b {
		reader, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		if data, err = io.ReadAll(io.LimitReader(reader, rawMax)); err != nil {
			return nil, err
		}
		if len(data) == rawMax {
			return nil, errTooBig
		}
	}
	p, err := profile.ParseUncompressed(data)
	if err != nil {
		return nil, err
	}
	return p, p.CheckValid()
}
