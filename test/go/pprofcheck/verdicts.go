package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/pprof/profile"
)

// verdicts says for each folder of fixtures what google/pprof must make of its files. Text is left out: some of it is an old
// format that google/pprof can still read, and the agent does not send.
var verdicts = map[string]func(path string) error{
	"ok":        expectSamples,
	"empty":     expectNoSamples,
	"malformed": expectRefused,
	"truncated": expectRefused,
	"ids":       expectRefused,
}

func checkVerdicts(fixtures string) error {
	var checked, failed int
	for folder, check := range verdicts {
		n, bad, err := eachFile(filepath.Join(fixtures, folder), check)
		if err != nil {
			return err
		}
		checked, failed = checked+n, failed+bad
	}
	return report("verdicts", checked, failed)
}

func parseFile(path string) (*profile.Profile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return profile.ParseData(data)
}

func expectSamples(path string) error {
	p, err := parseFile(path)
	if err != nil {
		return fmt.Errorf("expected it to be read, got: %w", err)
	}
	if len(p.Sample) == 0 {
		return fmt.Errorf("expected samples, got none")
	}
	return nil
}

func expectNoSamples(path string) error {
	p, err := parseFile(path)
	if err != nil {
		return fmt.Errorf("expected it to be read, got: %w", err)
	}
	if len(p.Sample) != 0 {
		return fmt.Errorf("expected no samples, got %d", len(p.Sample))
	}
	return nil
}

func expectRefused(path string) error {
	if p, err := parseFile(path); err == nil {
		return fmt.Errorf("expected it to be refused, got %d samples", len(p.Sample))
	}
	return nil
}
