package bench

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/sqldb"
)

// multiply copies the one version of every model in the database until each has so
// many: through the API it would take minutes of waiting for the disk, which is not
// what is measured. All columns but number and digest are copied, whatever there is.
// By the tables of what can be found, every second one has the label half, every
// tenth one each shard, and all have the metric acc.
func (n *registryNode) multiply(ctx context.Context, versions int) error {
	db, err := sqldb.Open(ctx, sqldb.DefaultConfig(n.dsn))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(ctx, `SELECT * FROM registry_versions LIMIT 1`)
	if err != nil {
		return err
	}
	columns, err := rows.Columns()
	if err := closeRows(rows, err); err != nil {
		return err
	}
	values := make([]string, len(columns))
	for i, c := range columns {
		switch c {
		case "number":
			values[i] = "n.i"
		case "digest":
			// 64 digits that are nobody else's in the model.
			values[i] = "substr(v.digest, 1, 61) || substr('0000000000' || n.i, -10)"
			if db.Dialect == sqldb.Postgres {
				values[i] = "substr(v.digest, 1, 61) || lpad(n.i::text, 10, '0')"
			}
		default:
			values[i] = "v." + c
		}
	}
	return db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, query := range []string{
			fmt.Sprintf(`INSERT INTO registry_versions (%s) WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
				SELECT %s FROM registry_versions v CROSS JOIN n`, strings.Join(columns, ", "), versions, strings.Join(values, ", ")),
			`INSERT INTO registry_version_terms (model, version, key, value)
				SELECT model, number, 'labels.half', CASE WHEN number % 2 = 0 THEN 'even' ELSE 'odd' END FROM registry_versions`,
			`INSERT INTO registry_version_terms (model, version, key, value)
				SELECT model, number, 'labels.shard', CAST(number % 10 AS TEXT) FROM registry_versions`,
			`INSERT INTO registry_version_metrics (model, version, name, value)
				SELECT model, number, 'acc', number * 7919 % 10007 / 10007.0 FROM registry_versions`,
			fmt.Sprintf(`UPDATE registry_models SET version_count = %d, version_bytes = version_bytes * %d`, versions, versions),
			`ANALYZE`, // as the server does by itself after a while
		} {
			if _, err := tx.ExecContext(ctx, query); err != nil {
				return fmt.Errorf("multiply the versions: %w", err)
			}
		}
		return nil
	})
}

func closeRows(rows *sql.Rows, err error) error {
	if closed := rows.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = rows.Err()
	}
	return err
}
