// Command poterne-sim is the simulated inference engine. See package sim.
package main

import (
	"os"

	"github.com/poterne/poterne/services/worker/sim"
)

func main() { os.Exit(sim.Main(os.Args[1:])) }
