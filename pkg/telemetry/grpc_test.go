package telemetry

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"google.golang.org/grpc/grpclog"
)

// saysGRPC has the test's binary be a program that has gRPC say something.
const saysGRPC = "TELEMETRY_TEST_SAYS_GRPC"

func TestMain(m *testing.M) {
	if os.Getenv(saysGRPC) == "" {
		m.Run()
		return
	}
	if err := LogGRPC("test", "v0", DefaultConfig("")); err != nil {
		panic(err)
	}
	grpclog.Info("nobody asked")
	grpclog.Warningf("%d of them", 3)
	grpclog.Errorf("Failed to write response: %v", errors.New("broken pipe"))
}

// What gRPC and the grpc-gateway say is a record like all else, and no error of the
// service's.
func TestWhatGRPCSaysIsARecord(t *testing.T) {
	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = append(os.Environ(), saysGRPC+"=1")
	var said bytes.Buffer
	program.Stderr = &said
	if err := program.Run(); err != nil {
		t.Fatal(err)
	}
	got := said.String()
	if strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "{") || !strings.Contains(got, `"level":"INFO"`) || !strings.Contains(got, `"service":"test"`) ||
		!strings.Contains(got, `"detail":"Failed to write response: broken pipe"`) {
		t.Errorf("%s", got)
	}
}

func TestGRPCsLevels(t *testing.T) {
	var said bytes.Buffer
	cfg := DefaultConfig("")
	cfg.LogLevel = "debug"
	log, err := newLogger(&said, "test", "v0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	g := grpcLogger{log}
	for _, c := range []struct {
		say  func()
		want string
	}{
		{func() { g.Info("a", "b") }, `"level":"DEBUG","msg":"grpc","service":"test","version":"v0","detail":"ab"`},
		{func() { g.Infoln("a", "b") }, `"detail":"a b"`},
		{func() { g.Infof("%d", 1) }, `"detail":"1"`},
		{func() { g.Warning("w") }, `"level":"DEBUG"`},
		{func() { g.Warningln("w") }, `"detail":"w"`},
		{func() { g.Warningf("%q", "w") }, `"detail":"\"w\""`},
		{func() { g.Error("e") }, `"level":"INFO"`},
		{func() { g.Errorln("e") }, `"detail":"e"`},
		{func() { g.Errorf("%v", io.EOF) }, `"detail":"EOF"`},
	} {
		said.Reset()
		c.say()
		if got := said.String(); !strings.Contains(got, c.want) {
			t.Errorf("no %s in %s", c.want, got)
		}
	}
	for _, fatal := range []func(){func() { g.Fatal("f") }, func() { g.Fatalln("f") }, func() { g.Fatalf("%s", "f") }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("it returned")
				}
			}()
			fatal()
		}()
	}
	if g.V(0) {
		t.Error("the most verbose is said")
	}
}
