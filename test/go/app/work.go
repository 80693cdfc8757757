package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Work comes in short slices, so that a CPU profile of one second already sees the average load.
	slice = 50 * time.Millisecond
	// burnCPU looks at the clock once in so many rounds: often enough to end in time, seldom enough not to show in the profile.
	roundsPerLook = 20_000

	// The heap profile samples one allocation in 512 KiB: several MiB in small pieces are always seen.
	heldBlocks   = 256
	heldBlock    = 32 << 10
	blocksPerRun = 4

	parkedGoroutines = 10

	// Long against any block profile rate in use, short against the slice: a few hundred events a second cost next to nothing.
	lockHeld  = 2 * time.Millisecond
	lockPause = 5 * time.Millisecond
	handOver  = 10 * time.Millisecond
)

// workDone counts the pieces of work of burnCPU: what is left of them beside a profiler shows what that costs.
var workDone atomic.Uint64

// startWork gives every profile type something to see; block and mutex only where their rate is set.
func startWork(conf config) {
	runtime.SetBlockProfileRate(conf.blockRate)
	runtime.SetMutexProfileFraction(conf.mutexFraction)

	if conf.load > 0 {
		go keepBusy(conf.load)
	}
	go keepHeap(fillHeap())
	for range parkedGoroutines {
		go waitForever()
	}
	var lock sync.Mutex
	for range 2 {
		go contend(&lock)
	}
	items := make(chan struct{})
	go produce(items)
	go consume(items)
}

// keepBusy burns the given share of one core.
func keepBusy(load float64) {
	busy := time.Duration(load * float64(slice))
	for state := uint64(1); ; {
		state = burnCPU(time.Now().Add(busy), state)
		time.Sleep(slice - busy)
	}
}

// burnCPU is the function a CPU profile of this program names: the work is in its own body, and it is not inlined.
//
//go:noinline
func burnCPU(until time.Time, state uint64) uint64 {
	for time.Now().Before(until) {
		for range roundsPerLook {
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
		}
		workDone.Add(1)
	}
	return state
}

// fillHeap takes what keepHeap holds. A heap profile shows the state at the end of the last garbage collection: without one
// here it would have no sample in the first seconds.
func fillHeap() [][]byte {
	held := make([][]byte, heldBlocks)
	for i := range held {
		held[i] = allocate()
	}
	runtime.GC()
	return held
}

// keepHeap replaces what is held bit by bit: both inuse and alloc values have something to show.
func keepHeap(held [][]byte) {
	for next := 0; ; {
		time.Sleep(slice)
		for range blocksPerRun {
			held[next] = allocate()
			next = (next + 1) % heldBlocks
		}
	}
}

//go:noinline
func allocate() []byte {
	return make([]byte, heldBlock)
}

func waitForever() {
	select {}
}

// contend holds the lock long enough for the other goroutine to wait for it.
func contend(lock *sync.Mutex) {
	for {
		lock.Lock()
		time.Sleep(lockHeld)
		lock.Unlock()
		time.Sleep(lockPause)
	}
}

func produce(items chan<- struct{}) {
	for {
		time.Sleep(handOver)
		items <- struct{}{}
	}
}

func consume(items <-chan struct{}) {
	for range items {
	}
}
