package bench

import (
	"os"
	"testing"
	"time"
)

func TestRatiosAreOfTheSameRound(t *testing.T) {
	cpu := func(ms ...int) (out []turn) {
		for _, n := range ms {
			out = append(out, turn{cpu: time.Duration(n) * time.Millisecond})
		}
		return out
	}
	// The machine was slow in the second round: both were, and the ratio is the same.
	all := turns{names: []string{"a", byNginx}, of: map[string][]turn{"a": cpu(20, 80, 22), byNginx: cpu(10, 40, 10)}}
	if got := all.ratio("a", byNginx, cpuMillis); got != 2 {
		t.Errorf("the ratio is %v", got)
	}
	if got := all.median("a", cpuMillis); got != 22 {
		t.Errorf("the median is %v", got)
	}
	if all.has("b") || !all.has("a") {
		t.Error("who was there is forgotten")
	}
	if r := atMost("x", 7, 7); !r.Holds || r.Bar != "≤ 7" {
		t.Errorf("%+v", r)
	}
	if r := atLeast("x", 0.2, 0.25); r.Holds {
		t.Errorf("%+v", r)
	}
}

func TestProcessTimesAreRead(t *testing.T) {
	// A name may hold spaces and parentheses (proc(5)).
	got, err := parseStat([]byte("7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 1 1 1"))
	if err != nil || got != 2*time.Second {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "7 (a) S 1", "7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 x 50 0"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
	if _, err := cpuOf([]int{os.Getpid()}); err != nil {
		t.Error(err)
	}
	kib, err := parseStatus("Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n", residentNow)
	if err != nil || kib != 1024 {
		t.Errorf("%d, %v", kib, err)
	}
	if _, err := parseStatus("Name:\ta\n", residentPeak); err == nil {
		t.Error("no line is read")
	}
}

func TestChunksThatComeTogetherAreCounted(t *testing.T) {
	step := 10 * time.Millisecond
	at := func(ms ...int) (out []time.Duration) {
		for _, m := range ms {
			out = append(out, time.Duration(m)*time.Millisecond)
		}
		return out
	}
	if n := together(at(0, 10, 20, 30, 40, 40, 40), step); n != 0 {
		t.Errorf("%d of a stream in step came together", n)
	}
	if n := together(at(0, 20, 20, 30, 40, 40, 40), step); n != 1 {
		t.Errorf("%d of a stream with one that waited", n)
	}
}

func TestTheTableStandsBetweenItsMarks(t *testing.T) {
	text := "before\n" + peersBegin + "\nold\n" + peersEnd + "\nafter\n"
	got, err := replaceTable(text, "| new |\n")
	if err != nil || got != "before\n"+peersBegin+"\n| new |\n"+peersEnd+"\nafter\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := replaceTable("nothing", ""); err == nil {
		t.Error("a file without marks is changed")
	}
}
