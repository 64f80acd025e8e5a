package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"google.golang.org/grpc/grpclog"
)

// LogGRPC has what gRPC and the grpc-gateway say of themselves be records of a logger as
// New makes it, in place of lines on standard error. What they call an error is mostly a
// client that left before its answer, which its call tells at the level that it deserves:
// it is at info here, and the rest at debug. The environment's GRPC_GO_LOG_SEVERITY_LEVEL
// leaves all as it is.
//
// gRPC has one logger in a process, and reads it without a lock: LogGRPC is for main, and
// before anything of gRPC is made.
func LogGRPC(service, version string, cfg Config) error {
	if os.Getenv("GRPC_GO_LOG_SEVERITY_LEVEL") != "" {
		return nil
	}
	log, err := newLogger(os.Stderr, service, version, cfg)
	if err != nil {
		return err
	}
	grpclog.SetLoggerV2(grpcLogger{log})
	return nil
}

// grpcLogger is a grpclog.LoggerV2, whose methods make no text that nobody reads.
type grpcLogger struct{ log *slog.Logger }

const (
	grpcMessage = "grpc"
	keyDetail   = "detail"
)

func (g grpcLogger) say(level slog.Level, text func() string) {
	ctx := context.Background() // gRPC says of no request which it is
	if g.log.Enabled(ctx, level) {
		g.log.LogAttrs(ctx, level, grpcMessage, slog.String(keyDetail, strings.TrimSpace(text())))
	}
}

func (g grpcLogger) print(level slog.Level, args []any) {
	g.say(level, func() string { return fmt.Sprint(args...) })
}

func (g grpcLogger) println(level slog.Level, args []any) {
	g.say(level, func() string { return fmt.Sprintln(args...) })
}

func (g grpcLogger) printf(level slog.Level, format string, args []any) {
	g.say(level, func() string { return fmt.Sprintf(format, args...) })
}

func (g grpcLogger) Info(args ...any)                    { g.print(slog.LevelDebug, args) }
func (g grpcLogger) Infoln(args ...any)                  { g.println(slog.LevelDebug, args) }
func (g grpcLogger) Infof(format string, args ...any)    { g.printf(slog.LevelDebug, format, args) }
func (g grpcLogger) Warning(args ...any)                 { g.print(slog.LevelDebug, args) }
func (g grpcLogger) Warningln(args ...any)               { g.println(slog.LevelDebug, args) }
func (g grpcLogger) Warningf(format string, args ...any) { g.printf(slog.LevelDebug, format, args) }
func (g grpcLogger) Error(args ...any)                   { g.print(slog.LevelInfo, args) }
func (g grpcLogger) Errorln(args ...any)                 { g.println(slog.LevelInfo, args) }
func (g grpcLogger) Errorf(format string, args ...any)   { g.printf(slog.LevelInfo, format, args) }

// Fatal must not return: gRPC is used as it must not be, which the stack shows.
func (g grpcLogger) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (g grpcLogger) Fatalln(args ...any)               { panic(fmt.Sprintln(args...)) }
func (g grpcLogger) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// V has the most verbose be left out.
func (grpcLogger) V(int) bool { return false }
