package main

import (
	"compress/gzip"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"time"
)

// Fields of perftools.profiles (github.com/google/pprof/proto/profile.proto).
const (
	profileSampleType  = 1
	profileSample      = 2
	profileStringTable = 6
	profileTimeNanos   = 9
	typeType           = 1
	typeUnit           = 2
	sampleValue        = 2
)

func appendNumber(out []byte, field int, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(out, uint64(field)<<3), value)
}

func appendMessage(out []byte, field int, body []byte) []byte {
	out = binary.AppendUvarint(out, uint64(field)<<3|2)
	return append(binary.AppendUvarint(out, uint64(len(body))), body...)
}

// largeHandler serves a profile of so many bytes, which gzip shortens by a seventh: samples without a stack whose values do not compress:
// what a process with a huge heap has to tell. It is written as it goes, so that it costs the app no memory.
func largeHandler(size int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		zipped, err := gzip.NewWriterLevel(w, gzip.HuffmanOnly)
		if err != nil {
			panic(err) // only for a level that gzip does not know
		}
		head := appendMessage(nil, profileSampleType, appendNumber(appendNumber(nil, typeType, 1), typeUnit, 2))
		for _, text := range []string{"", "things", "count"} {
			head = appendMessage(head, profileStringTable, []byte(text))
		}
		head = appendNumber(head, profileTimeNanos, uint64(time.Now().UnixNano()))
		written, _ := zipped.Write(head)
		for written < size {
			n, err := zipped.Write(appendMessage(nil, profileSample, appendNumber(nil, sampleValue, rand.Uint64()>>1)))
			if err != nil {
				return // the agent has gone
			}
			written += n
		}
		_ = zipped.Close() // a body that is cut short tells the agent the same
	}
}
