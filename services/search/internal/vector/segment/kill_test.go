package segment

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/search/internal/vector"
)

// childEnv has the test binary be the process that is killed: it names the
// store's directory.
const childEnv = "POTERNE_TEST_SEGMENT_DIR"

// TestTheProcessThatIsKilled is that process when it is told to be, and nothing
// otherwise.
func TestTheProcessThatIsKilled(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		t.Fatal(child(dir))
	}
}

// child writes versions from the first that is missing on, seals and merges, and
// says what is durable. It ends when it is killed.
func child(dir string) error {
	s, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	l, ok := s.Layout()
	if !ok {
		l = layout()
		if err := s.Reset(l); err != nil {
			return err
		}
	}
	next := int64(1)
	for _, k := range s.Tail() {
		next = max(next, k.No+1)
	}
	for _, seg := range s.Segments() {
		for _, k := range seg.Keys() {
			next = max(next, k.No+1)
		}
	}
	out := bufio.NewWriter(os.Stdout)
	for round := 0; ; round++ {
		var batch []Version
		for range 1 + round%5 {
			batch = append(batch, versionOf(l, next))
			next++
		}
		if err := s.Append(batch); err != nil {
			return err
		}
		fmt.Fprintln(out, next-1)
		if err := out.Flush(); err != nil {
			return err
		}
		if len(s.Tail()) > 12 {
			if _, err := s.Seal(); err != nil {
				return err
			}
		}
		if from := s.Segments(); len(from) > 2 {
			to, err := s.Merge(context.Background(), from, wanted)
			if err != nil {
				return err
			}
			if err := s.Exchange(from, to); err != nil {
				return err
			}
			if err := closeAll(from); err != nil {
				return err
			}
		}
	}
}

const (
	kills  = 200
	stores = 4 // side by side, each killed its share of times
)

// TestKilledAtAnyMoment kills writing processes, two hundred times, some
// milliseconds after they began to write. What they acknowledged is there, every
// byte of what is there is as it was written, and the nearest of a vector is
// that of an exact scan.
func TestKilledAtAnyMoment(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(stores) {
		t.Run(fmt.Sprint("store ", i), func(t *testing.T) {
			t.Parallel()
			killOften(t, self, rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), i)))
		})
	}
}

func killOften(t *testing.T, self string, rng *rand.Rand) {
	t.Helper()
	dir, acked := dirOf(t), int64(0)
	for i := range kills / stores {
		acked = max(acked, killed(t, self, dir, time.Duration(rng.IntN(8000))*time.Microsecond))
		s := openTest(t, dir)
		got := held(t, s)
		for no := int64(1); no <= acked; no++ {
			if !got[no] && wanted(no) {
				t.Fatalf("kill %d: version %d of %d was acknowledged and is lost", i, no, acked)
			}
		}
		if i%10 == 9 {
			checkNearest(t, s, got, rng)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acked == 0 {
		t.Error("nothing was ever acknowledged")
	}
}

// killed runs the child until some time after its first word, and returns the
// last version that it acknowledged.
func killed(t *testing.T, self, dir string, after time.Duration) (acked int64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestTheProcessThatIsKilled$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for first := true; lines.Scan(); first = false {
		if first {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		no, err := strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64)
		if err != nil {
			t.Fatalf("the child says %q", lines.Text())
		}
		acked = no
	}
	_ = cmd.Wait() // killed
	return acked
}

// checkNearest asks for vectors that are there, and compares with a look at all.
func checkNearest(t *testing.T, s *Store, got map[int64]bool, rng *rand.Rand) {
	t.Helper()
	l, _ := s.Layout()
	m := vector.New(l)
	var ranges []vector.Range
	var owner []int64
	note := func(first int, k Key) {
		for len(owner) < first+int(k.Count) {
			owner = append(owner, 0)
		}
		for i := range k.Count {
			owner[first+int(i)] = k.No
		}
		ranges = append(ranges, vector.Range{First: uint32(first), Count: k.Count})
	}
	for _, seg := range s.Segments() {
		first := m.Attach(seg.Blocks())
		for _, k := range seg.Keys() {
			note(first, k)
			first += int(k.Count)
		}
	}
	if err := s.ReadTail(func(v Version) error {
		note(m.Rows(), v.Key)
		for rows := v.Rows; len(rows) > 0; rows = rows[l.Stride():] {
			m.AppendEncoded(rows[:l.Stride()])
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for no := range got {
		if rng.IntN(20) > 0 {
			continue
		}
		query := vector.Normalized(vectorOf(l, no, 0))
		best, want := 0.0, int64(0)
		for other := range got {
			for i := range versionOf(l, other).Count {
				score := float64(vector.Dot(query, vector.Normalized(vectorOf(l, other, int(i)))))
				if score > best {
					best, want = score, other
				}
			}
		}
		found := m.Nearest(query, ranges, 1, func(row uint32) string { return fmt.Sprintf("%012d", row) })
		if len(found) != 1 || owner[found[0].Key] != want {
			t.Fatalf("the nearest of version %d is of %d, want %d", no, owner[found[0].Key], want)
		}
		return
	}
}
