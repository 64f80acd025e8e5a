package storetest

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/sqldb"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Filled says what Fill has put into a database.
type Filled struct {
	// Large is a model with half of the versions; the others have 100 each.
	Large string
	// Versions is how many Large has.
	Versions int
}

// Fill puts versions into an empty database that has the registry's schema, as if
// they had been created one by one, but sooner: half of them of one model. Every
// version has the label shard (1000 of them are rare: shard r), the label half
// (even or odd) and the metric acc. Open a store afterwards.
func Fill(tb testing.TB, cfg sqldb.Config, versions int) Filled {
	tb.Helper()
	db, err := sqldb.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const each = 100
	out := Filled{Large: "large", Versions: versions / 2}
	f := filler{tb: tb, db: db}
	f.model(out.Large, out.Versions)
	for i := range versions / 2 / each {
		f.model(fmt.Sprintf("m%05d", i), each)
	}
	if db.Dialect == sqldb.Postgres {
		f.exec(`ANALYZE`)
	}
	return out
}

type filler struct {
	tb testing.TB
	db *sqldb.DB
}

func (f filler) exec(query string, args ...any) {
	f.tb.Helper()
	if _, err := f.db.ExecContext(f.tb.Context(), query, args...); err != nil {
		f.tb.Fatal(err)
	}
}

// rows inserts rows of as many columns, with one statement.
func (f filler) rows(insert string, columns int, args []any) {
	f.tb.Helper()
	var text strings.Builder
	text.WriteString(insert)
	for i := range args {
		switch i % columns {
		case 0:
			text.WriteString(map[bool]string{true: "(", false: ", ("}[i == 0])
		default:
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "$%d", i+1)
		if i%columns == columns-1 {
			text.WriteString(")")
		}
	}
	f.exec(text.String(), args...)
}

func (f filler) model(name string, n int) {
	f.tb.Helper()
	const kept = 1000
	f.exec(`INSERT INTO registry_models (name, display_name, labels, version_count, version_bytes, create_time, update_time,
		last_version, carried_from, range_bytes, indexed) VALUES ($1, '', '{"team":"x"}', $2, $3, 1, 1, $2, $4, $3, 1)`,
		name, n, int64(min(n, kept))*400, max(n-kept+1, 1))
	f.exec(`INSERT INTO registry_model_terms (model, key, value) VALUES ($1, 'labels.team', 'x')`, name)
	const atOnce = 500
	var versions, terms, metrics []any
	for number := 1; number <= n; number++ {
		v := Version(f.tb, name, number)
		spec, err := proto.Marshal(v.GetSpec())
		if err != nil {
			f.tb.Fatal(err)
		}
		shard := fmt.Sprint(number % 97)
		if number%50 == 0 {
			shard = "r"
		}
		labels := map[string]string{"shard": shard, "half": []string{"even", "odd"}[number%2]}
		acc := float64(number*7919%10007) / 10007
		meta, err := proto.Marshal(&registryv1.Version{Labels: labels, Metrics: map[string]float64{"acc": acc}})
		if err != nil {
			f.tb.Fatal(err)
		}
		versions = append(versions, name, number, v.GetDigest(), spec, "", int64(number), meta, 400, 1)
		for key, value := range map[string]string{
			"engine": "sim", "task": "chat", "signed": "false", "labels.shard": labels["shard"], "labels.half": labels["half"],
		} {
			terms = append(terms, name, number, key, value)
		}
		metrics = append(metrics, name, number, "acc", acc)
		if number%atOnce == 0 || number == n {
			f.rows(`INSERT INTO registry_versions (model, number, digest, spec, description, create_time, meta, bytes, indexed) VALUES `, 9, versions)
			f.rows(`INSERT INTO registry_version_terms (model, version, key, value) VALUES `, 4, terms)
			f.rows(`INSERT INTO registry_version_metrics (model, version, name, value) VALUES `, 4, metrics)
			versions, terms, metrics = nil, nil, nil
		}
	}
}
