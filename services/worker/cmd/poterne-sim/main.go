// Command poterne-sim is the simulated inference engine. See package sim.
package main

import (
	"os"

	"github.com/poterne/poterne/pkg/servicecmd"
	"github.com/poterne/poterne/services/worker/sim"
)

func main() {
	servicecmd.CalmMonitor()
	os.Exit(sim.Main(os.Args[1:]))
}
