// Command poterne runs the whole platform on one machine (`poterne up`) and is
// the client for a running one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/poterne/poterne/pkg/servicecmd"
	"github.com/poterne/poterne/services/allinone/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "up" || os.Args[1] == "sim") { // what lasts
		servicecmd.CalmMonitor()
	}
	os.Exit(run())
}

func run() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	// A hang-up is a terminal that was closed: it ends everything in order too.
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel()
		<-signals // whoever asks twice does not want to wait
		os.Exit(1)
	}()
	return cli.Main(ctx, version, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Getenv)
}
