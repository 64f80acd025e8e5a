package apikey

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"
)

// What finding a key takes of its request's stack, the request keeps while its stream
// is open. A stack is of 2, 4, 8, 16 or 32 KB, and what a stream needs besides is just below 16.
func TestVerifyingTakesLittleStack(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	_, text := b.create(t)
	if _, err := b.Verify(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	const callers, most = 256, 8 << 10
	var ready, done sync.WaitGroup
	leave := make(chan struct{})
	runtime.GC() // what ended before counts no more
	before := stacks()
	for range callers {
		ready.Add(1)
		done.Go(func() {
			_, err := b.Verify(t.Context(), text)
			if err != nil {
				t.Error(err)
			}
			ready.Done()
			<-leave
		})
	}
	ready.Wait()
	each := (stacks() - before) / callers
	close(leave)
	done.Wait()
	if each > most {
		t.Errorf("a caller's stack has %d bytes", each)
	}
}

// stacks returns the bytes of all stacks in use. A collection in between would shrink
// those that wait.
func stacks() int {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}
