package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/google/pprof/profile"
)

// benchCPU is about how long each side is measured.
const benchCPU = 2 * time.Second

func bench(tool string, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	stacks := flags.Int("stacks", 20_000, "allocation `SITES` in the heap profile")
	file := flags.String("file", "", "measure this `PROFILE` instead of a heap profile of this process")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	scratch, err := os.MkdirTemp("", "pprofcheck")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if *file == "" {
		*file = filepath.Join(scratch, "heap.pb.gz")
		if err := writeHeapProfile(*file, *stacks); err != nil {
			return err
		}
	}
	return compare(tool, *file)
}

// writeHeapProfile writes a real heap profile of this process with about so many samples.
func writeHeapProfile(path string, stacks int) error {
	previous := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	held := make([][]byte, stacks)
	for i := range held {
		held[i] = allocate(i)
	}
	runtime.MemProfileRate = previous
	runtime.GC()
	runtime.GC()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pprof.Lookup("heap").WriteTo(file, 0); err != nil {
		return err
	}
	runtime.KeepAlive(held)
	return file.Close()
}

// allocate comes to its end by a path of calls that spells i in base 4: a stack of its own for each i.
//
//go:noinline
func allocate(i int) []byte {
	switch {
	case i < 4:
		return make([]byte, 32)
	case i%4 == 0:
		return allocate(i / 4)
	case i%4 == 1:
		return allocate(i / 4)
	case i%4 == 2:
		return allocate(i / 4)
	default:
		return allocate(i / 4)
	}
}

func compare(tool, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	original, err := profile.ParseData(data)
	if err != nil {
		return err
	}
	var raw bytes.Buffer
	if err := original.WriteUncompressed(&raw); err != nil {
		return err
	}
	theirs, times, err := cpuOfGoogle(data)
	if err != nil {
		return err
	}
	check, relabel, err := cpuOfTool(tool, path, times)
	if err != nil {
		return err
	}
	megabytes := float64(raw.Len()) / 1e6
	fmt.Printf("%d samples, %.1f KB gzipped, %.3f MB raw, %d labels, %d times, CPU of one core\n",
		len(original.Sample), float64(len(data))/1e3, megabytes, len(labels), times)
	line := func(who string, cpu float64) {
		fmt.Printf("%-34s %9.2f ms %7.1f ms a raw MB %6.2f of google/pprof\n", who, cpu, cpu/megabytes, cpu/theirs)
	}
	line("google/pprof: parse, label, write", theirs)
	line("relabel: both readings", relabel)
	line("of which the check", check)
	return nil
}

// cpuOfGoogle returns milliseconds a profile, and how often it was done.
func cpuOfGoogle(data []byte) (float64, int, error) {
	times := 0
	debug.FreeOSMemory()
	begin := cpuTime()
	for times == 0 || cpuTime()-begin < benchCPU {
		p, err := profile.ParseData(data)
		if err != nil {
			return 0, 0, err
		}
		for _, sample := range p.Sample {
			addLabels(sample, labels)
		}
		p.Comments = append(p.Comments, "type="+profileType, "url="+profileURL)
		var out bytes.Buffer
		if err := p.Write(&out); err != nil {
			return 0, 0, err
		}
		times++
	}
	return (cpuTime() - begin).Seconds() * 1e3 / float64(times), times, nil
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// cpuOfTool returns milliseconds of one check and of one relabelling, the check included.
func cpuOfTool(tool, path string, times int) (check, relabel float64, err error) {
	args := append([]string{"--bench", path, fmt.Sprint(times)}, labels...)
	said, err := exec.Command(tool, args...).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", tool, err)
	}
	if _, err := fmt.Fscan(strings.NewReader(string(said)), &check, &relabel); err != nil {
		return 0, 0, fmt.Errorf("%s: expected two numbers, got %q: %w", tool, said, err)
	}
	return check / 1e3, relabel / 1e3, nil
}
