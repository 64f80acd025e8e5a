package grpcclient

import (
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
)

func TestEjector(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e := newEjector(Outlier{
		Enabled: true, ConsecutiveFailures: 3, BaseEjection: 10 * time.Second, MaxEjection: 15 * time.Second, MaxEjectedPercent: 50,
	}, func() time.Time { return now })
	e.keep([]string{"a", "b", "c", "d"})
	away, wrong := status.Error(codes.Unavailable, ""), status.Error(codes.InvalidArgument, "")
	fail := func(addr string, n int) {
		for range n {
			e.report(addr, away)
		}
	}
	usable := func(want string) {
		t.Helper()
		got := ""
		for _, a := range []string{"a", "b", "c", "d"} {
			if e.usable(a) {
				got += a
			}
		}
		if got != want {
			t.Fatalf("usable: %q, want %q", got, want)
		}
	}
	fail("a", 2)
	e.report("a", wrong) // an answer ends the run
	fail("a", 2)
	usable("abcd")
	fail("a", 1)
	usable("bcd")
	fail("b", 3)
	fail("c", 30) // no more than half are left out
	usable("cd")
	now = now.Add(10 * time.Second)
	usable("abcd")
	fail("a", 3)
	now = now.Add(14 * time.Second) // the second time in a row it is longer, up to the bound
	usable("bcd")
	now = now.Add(time.Second)
	usable("abcd")
	e.report("a", nil)
	fail("a", 3)
	now = now.Add(10 * time.Second)
	usable("abcd")
	fail("a", 2)
	e.keep([]string{"b"})
	e.keep([]string{"a", "b"}) // one that went away comes back without its past
	fail("a", 2)
	usable("abcd")
	e.report("unknown", away)
	e.configure(Outlier{})
	fail("a", 10)
	usable("abcd")
}

// What a caller can bring about by the requests it makes must not take an
// address from everyone else.
func TestAnswersAndDeadlinesEjectNobody(t *testing.T) {
	e := newEjector(DefaultConfig().Outlier, time.Now)
	e.keep([]string{"a", "b"})
	for _, err := range []error{
		apierr.New(apierr.EngineFailed, "the engine failed").GRPCStatus().Err(),
		apierr.New(apierr.Internal, "broken").GRPCStatus().Err(),
		apierr.New(apierr.Unavailable, "no worker").GRPCStatus().Err(),
		apierr.New(apierr.DeadlineExceeded, "too slow").GRPCStatus().Err(),
		status.Error(codes.DeadlineExceeded, "context deadline exceeded"),
	} {
		for range 100 {
			e.report("a", err)
		}
		if !e.usable("a") {
			t.Fatalf("an address was left out for %v", err)
		}
	}
	for range 5 {
		e.report("a", status.Error(codes.Internal, "stream terminated by RST_STREAM"))
	}
	if e.usable("a") {
		t.Fatal("an address whose connection keeps failing is not left out")
	}
}

func TestSingleAddressIsNeverEjected(t *testing.T) {
	e := newEjector(DefaultConfig().Outlier, time.Now)
	e.keep([]string{"a"})
	for range 100 {
		e.report("a", status.Error(codes.Unavailable, ""))
	}
	if !e.usable("a") {
		t.Fatal("the only address was left out")
	}
}

// gRPC configures the ejector with every set of addresses, while calls that
// began on the last set are still being reported.
func TestEjectorIsConfiguredUnderCalls(t *testing.T) {
	e := newEjector(Outlier{}, time.Now)
	e.keep([]string{"a"})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 1000 {
			e.configure(Outlier{Enabled: i%2 == 0, ConsecutiveFailures: 1, MaxEjectedPercent: 100})
		}
	})
	for range 1000 {
		e.usable("a")
		e.report("a", nil)
	}
	wg.Wait()
	if !e.usable("a") {
		t.Fatal("an address that never failed is left out")
	}
}
