package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/pprof/profile"
)

const (
	profileType = "heap"
	profileURL  = "http://127.0.0.1:6060/debug/pprof/heap"
)

// labels are given to each sample; some fixtures have a "pod" or a "handler" of their own.
var labels = []string{
	"namespace=shop", "pod=web-5d8f7-abcde", "node=node-1", "container=web", "from=profefe-agent", "team=café", "handler=none",
}

// passed names the fixtures that are rightly pushed as they came, and why.
var passed = map[string]string{
	"odd-sample-of-16385-bytes.pb.gz": "sample-too-big",
	"odd-key-in-table-9-times.pb":     "too-many-keys",
}

func checkRelabel(tool, fixtures string) error {
	scratch, err := os.MkdirTemp("", "pprofcheck")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	out := filepath.Join(scratch, "out")
	checked, failed, err := eachFile(filepath.Join(fixtures, "ok"), func(path string) error {
		return checkRewritten(tool, path, out)
	})
	if err != nil {
		return err
	}
	return report("relabel", checked, failed)
}

func checkRewritten(tool, path, out string) error {
	result, err := rewrite(tool, path, out)
	if err != nil {
		return err
	}
	if reason, ok := passed[filepath.Base(path)]; ok {
		if result != reason {
			return fmt.Errorf("expected %q, got %q", reason, result)
		}
		return expectSameFile(path, out)
	}
	if result != "done" {
		return fmt.Errorf("expected it to be rewritten, got %q", result)
	}
	return expectLabelled(path, out)
}

func rewrite(tool, path, out string) (string, error) {
	args := append([]string{"--rewrite", path, out, profileType, profileURL}, labels...)
	said, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", tool, err, said)
	}
	return strings.TrimSpace(string(said)), nil
}

func expectSameFile(a, b string) error {
	bytesA, err := os.ReadFile(a)
	if err != nil {
		return err
	}
	bytesB, err := os.ReadFile(b)
	if err != nil {
		return err
	}
	if !bytes.Equal(bytesA, bytesB) {
		return fmt.Errorf("expected it as it came, got %d other bytes", len(bytesB))
	}
	return nil
}

// expectLabelled compares all that google/pprof reads of both: written by it, equal profiles are equal bytes.
func expectLabelled(path, out string) error {
	expected, err := parseFile(path)
	if err != nil {
		return err
	}
	got, err := parseFile(out)
	if err != nil {
		return fmt.Errorf("rewritten: %w", err)
	}
	for _, sample := range expected.Sample {
		addLabels(sample, labels)
	}
	expected.Comments = append(expected.Comments, "type="+profileType, "url="+profileURL)
	if want, have := expected.String(), got.String(); want != have {
		return fmt.Errorf("expected:\n%s\ngot:\n%s", want, have)
	}
	var wantBytes, haveBytes bytes.Buffer
	if err := expected.WriteUncompressed(&wantBytes); err != nil {
		return err
	}
	if err := got.WriteUncompressed(&haveBytes); err != nil {
		return err
	}
	if !bytes.Equal(wantBytes.Bytes(), haveBytes.Bytes()) {
		return fmt.Errorf("equal in words, yet not in all that is written")
	}
	return nil
}

// addLabels is the rule to be shown: beside a key that the sample has, as text or as a number, ours has another name.
func addLabels(sample *profile.Sample, labels []string) {
	for _, label := range labels {
		key, value, _ := strings.Cut(label, "=")
		if sample.Label[key] != nil || sample.NumLabel[key] != nil {
			key = "profefe_" + key
		}
		if sample.Label == nil {
			sample.Label = map[string][]string{}
		}
		sample.Label[key] = []string{value}
	}
}
