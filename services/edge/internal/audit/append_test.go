package audit

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/auditproof"
)

const goldenHash = "ddde0a5ae718980e119e5c3152a1f92b51ce4e2ea012e1b1c7997985d7072539"

// What a request pays for its record: making it, linking it and the journal.
func BenchmarkAppend(b *testing.B) {
	sink := openSQL(b, sqliteDSN(b))
	p := begin(b, sink, b.TempDir(), "a", func(c *Config) { c.QueueSize = 1 << 20 })
	r := sample(1)
	b.ReportAllocs()
	before := cpuTime(b)
	n := 0
	for b.Loop() {
		if err := p.Append(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		if n++; n%4096 == 0 {
			b.StopTimer() // the sink has them, in time that no request waits for
			at := cpuTime(b)
			p.remove(p.queue.Len())
			before += cpuTime(b) - at
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(n), "cpu-ns/op")
}

// cpuTime is what this process has used of the processors.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What is measured by hand of a record: version 1 of the form never changes.
func TestGolden(t *testing.T) {
	r := sample(3)
	r.Chain, r.Sequence, r.Previous, r.Hash = "golden", 7, auditproof.Hash{9}, auditproof.Hash{}
	r.Normalise()
	if got := r.Sum().String(); got != goldenHash {
		t.Fatalf("the hash of the same record is %s now: old trails would not verify", got)
	}
}

func TestNothingIsChangedThatCannotBeRecorded(t *testing.T) {
	sink := openSQL(t, sqliteDSN(t))
	p := begin(t, sink, t.TempDir(), "a", func(c *Config) { c.OnFull = FullRefuse })
	if err := p.Begin(t.Context(), sample(1)); err != nil {
		t.Fatal(err)
	}
	if err := p.journal.lines.File().Truncate(0); err != nil { // its memory is gone, as with a disk that broke
		t.Fatal(err)
	}
	if err := p.Begin(t.Context(), sample(2)); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Fatalf("%v", err)
	}
	if err := p.Admit(t.Context()); apierr.ReasonOf(err) != apierr.Unavailable || p.Refusing() == nil {
		t.Fatalf("%v, %v", err, p.Refusing())
	}
	p.mend(t.Context())
	if err := p.Admit(t.Context()); err != nil || p.Refusing() != nil {
		t.Fatalf("with a new file: %v, %v", err, p.Refusing())
	}
}

func TestCSVIsNoFormula(t *testing.T) {
	var out strings.Builder
	e := NewExport(true, func(b []byte) error { out.Write(b); return nil })
	r := sample(1)
	r.Resource, r.Subject = `=HYPERLINK("http://x")`, "@sum"
	if err := e.Records([]Record{r}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"'=HYPERLINK(""http://x"")"`) || !strings.Contains(out.String(), ",'@sum,") {
		t.Fatal(out.String())
	}
}
