package hugepages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const actAsProgram = "HUGEPAGES_TEST_PROGRAM"

// TestMain lets the test binary be a program that moves itself while it works, and tells
// what became of it.
func TestMain(m *testing.M) {
	if os.Getenv(actAsProgram) == "" {
		m.Run()
		return
	}
	var working sync.WaitGroup
	var done atomic.Bool
	for range 4 {
		working.Go(func() {
			for !done.Load() {
				work()
			}
		})
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	err := Program(logger).Run(context.Background())
	done.Store(true)
	working.Wait()
	runtime.GC() // it looks up every function on a stack
	var profile bytes.Buffer
	_ = pprof.Lookup("heap").WriteTo(&profile, 0)
	caller, _, _, _ := runtime.Caller(0)
	fmt.Fprintf(os.Stdout, "work %d\nerror %v\nlog %q\ncaller %s\nprofile %t\n",
		work(), err, log.String(), runtime.FuncForPC(caller).Name(), profile.Len() > 0)
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
	}
	_, _ = os.Stdout.Write(maps)
}

// work uses code and tables from here and there, of a program of some megabytes.
func work() int {
	answer := httptest.NewRecorder()
	http.NotFoundHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	text, _ := json.Marshal(map[string]any{"a": 1.5, "b": []string{"c"}})
	return len(regexp.MustCompile(`[a-z]+`).FindAllString(string(text), -1)) + answer.Code
}

// A program that moves while four threads run it goes on as if nothing had been, and its
// code and tables are no longer the file's.
func TestTheProgramIsMoved(t *testing.T) {
	for _, setting := range []string{"", off} {
		t.Run("GODEBUG="+setting, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), actAsProgram+"=1", "GODEBUG="+setting)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %.2000s", err, out)
			}
			head, smaps, _ := strings.Cut(string(out), "profile true\n")
			want := fmt.Sprintf("work %d\nerror <nil>\nlog \"\"\ncaller github.com/poterne/poterne/pkg/hugepages.TestMain\n", work())
			if !available(t) {
				setting = off
				head = regexp.MustCompile(`log ".*"`).ReplaceAllString(head, `log ""`)
			}
			if head != want {
				t.Errorf("the program said\n%s\nwant\n%s", head, want)
			}
			moved := regexp.MustCompile(`(?m)^[0-9a-f]+-[0-9a-f]+ r-xp 00000000 00:00 0 *$`).MatchString(smaps)
			if wanted := setting != off; moved != wanted {
				t.Errorf("in huge pages: %t, want %t\n%.3000s", moved, wanted, smaps)
			}
		})
	}
}

const smaps = `00400000-01e44000 r-xp 00000000 fe:00 5308422                            /usr/bin/poterne
Size:              26896 kB
FilePmdMapped:         0 kB
VmFlags: rd ex mr mw me 
01e44000-03c3b000 r--p 01a44000 fe:00 5308422                            /usr/bin/poterne
Size:              30000 kB
FilePmdMapped:     26624 kB
03c3b000-03dff000 rw-p 0383b000 fe:00 5308422                            /usr/bin/poterne
FilePmdMapped:         0 kB
7f2a8bf3c000-7f2a8c092000 r-xp 00026000 fe:00 326269 /usr/lib/libc.so.6
FilePmdMapped:         0 kB
`

func TestProgramParts(t *testing.T) {
	parts := programParts(strings.NewReader(smaps), "/usr/bin/poterne")
	if len(parts) != 1 || parts[0].span != (span{0x400000, 0x1e44000}) || parts[0].access != 5 {
		t.Errorf("the parts are %x", parts)
	}
	if parts := programParts(strings.NewReader(smaps), "/usr/bin/other"); len(parts) != 0 {
		t.Errorf("another program's are %x", parts)
	}
}

// What cannot be copied stays where it is.
func TestAFailureLeavesTheProgram(t *testing.T) {
	memory, s := room(t, 2)
	touch(memory, 1)
	if err := (part{s, 1}).move(strings.NewReader("too short")); err == nil {
		t.Error("no error")
	}
	if memory[0] != 1 {
		t.Error("replaced all the same")
	}
	if err := (part{span{s.from + 1, s.to - 1}, 1}).move(strings.NewReader("")); err != nil {
		t.Errorf("nothing to move is an error: %v", err)
	}
}
