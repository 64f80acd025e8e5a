// poterne-bench measures what the project promises of a part and prints a table.
// It exits with 1 when a promise is not kept.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/e2e/bench"
)

func main() { os.Exit(run()) }

// scenarios are the sets that can be run; data is where judged collections are
// read from, readme is where the table of others is written to, and
// outage is for how long the registry is stopped.
func scenarios(data, readme string, outage time.Duration) map[string][]bench.Scenario {
	return map[string][]bench.Scenario{
		"inference": {
			{Name: "prefix", Run: bench.Prefix},
			{Name: "fairness", Run: bench.Fairness},
			{Name: "overload", Run: bench.Overload},
			{Name: "cost", Run: bench.Cost},
			{Name: "embedding", Run: bench.Embedding},
		},
		"gateway": {
			{Name: "beside-nginx", Run: bench.Gateway},
			{Name: "edge", Run: bench.GatewayEdge},
			{Name: "cache", Run: bench.GatewayCache},
		},
		"gateway-peers": {{Name: "peers", Run: bench.GatewayPeers(readme)}},
		"search": {
			{Name: "embedded", Run: bench.Search},
			{Name: "elasticsearch", Run: bench.SearchBeside},
			{Name: "rebuild", Run: bench.SearchRebuild},
		},
		"registry": {
			{Name: "commits", Run: bench.RegistryCommits},
			{Name: "writers", Run: bench.RegistryWriters},
			{Name: "reads", Run: bench.RegistryReads},
			{Name: "rollback", Run: bench.RegistryRollback},
			{Name: "decision", Run: bench.RegistryDecision},
			{Name: "outage", Run: bench.RegistryOutage(outage)},
		},
		"ledger":         {{Name: "ledger", Run: bench.Ledger(ledgerRequests, ledgerKills, slog.New(slog.DiscardHandler))}},
		"search-million": {{Name: "million", Run: bench.SearchMillion}},
		"embedding-real": {{Name: "embedding-real", Run: bench.EmbeddingReal}},
		"search-quality": {{Name: "quality", Run: bench.SearchQuality(data)}},
	}
}

// What the scenario ledger makes of requests, and how often it kills an edge.
const (
	ledgerRequests = 100_000
	ledgerKills    = 20
)

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	usage := func() int {
		fmt.Fprintln(os.Stderr, "usage: poterne-bench gateway|gateway-peers|inference|registry|search|ledger|search-million|search-quality|embedding-real [--data DIR] [--readme FILE] [--outage DURATION] [SCENARIO...]")
		return 2
	}
	if len(os.Args) < 2 {
		return usage()
	}
	flags := flag.NewFlagSet("poterne-bench", flag.ContinueOnError)
	data := flags.String("data", "", "the directory of a judged collection, for search-quality")
	readme := flags.String("readme", "", "a file whose table is written anew, for gateway-peers")
	outage := flags.Duration("outage", 20*time.Second, "for how long the registry is stopped under traffic, for registry")
	if err := flags.Parse(os.Args[2:]); err != nil {
		return 2
	}
	chosen := scenarios(*data, *readme, *outage)[os.Args[1]]
	if chosen == nil {
		return usage()
	}
	if names := flags.Args(); len(names) > 0 {
		chosen = slices.DeleteFunc(chosen, func(s bench.Scenario) bool { return !slices.Contains(names, s.Name) })
		if len(chosen) == 0 {
			fmt.Fprintf(os.Stderr, "poterne-bench: no scenario %s\n", strings.Join(names, ", "))
			return 2
		}
	}
	ok, err := bench.Run(ctx, chosen, os.Stdout, os.Getenv("BENCH_OUT"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "poterne-bench: %v\n", err)
		return 1
	}
	if !ok {
		return 1
	}
	return 0
}
