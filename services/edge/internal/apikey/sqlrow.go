package apikey

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/grant"
)

// keyColumns are those of a key, and accountColumns those of an account; found
// keys have both, and the last use.
const (
	keyColumns = `k.id, k.name, k.tenant, k.subject, k.roles, k.member_of, k.hash, k.pepper,
	k.scopes, k.models, k.collections, k.networks, k.owner, k.creator, k.service_account,
	k.create_time, k.update_time, k.expire_time, k.revoke_time, k.rotate_time,
	k.previous_hash, k.previous_pepper, k.previous_expire_time, k.requests_per_minute, k.revision`
	accountColumns = `a.tenant, a.id, a.display_name, a.description, a.roles, a.member_of,
	a.scopes, a.models, a.collections, a.networks, a.owner, a.creator, a.disabled, a.create_time, a.update_time, a.revision`
	selectKeys = `SELECT ` + keyColumns + `, ` + accountColumns + `, COALESCE(u.last_time, 0)
	FROM edge_api_keys k
	LEFT JOIN edge_service_accounts a ON a.tenant = k.tenant AND a.id = k.service_account
	LEFT JOIN edge_api_key_uses u ON u.id = k.id `
	selectAccounts = `SELECT ` + accountColumns + ` FROM edge_service_accounts a `
)

type row interface{ Scan(dest ...any) error }

func scanKey(from row) (Record, error) {
	var (
		r                                        Record
		roles, groups                            string
		created, updated, expire, revoke, rotate int64
		previous, used                           int64
		g                                        grantRow[string]
		a                                        accountRow
	)
	dest := []any{
		&r.ID, &r.Name, &r.Tenant, &r.Subject, &roles, &groups, &r.Secret.Sum, &r.Secret.Pepper,
		&g.scopes, &g.models, &g.collections, &g.networks, &r.Owner, &r.Creator, &r.ServiceAccount,
		&created, &updated, &expire, &revoke, &rotate,
		&r.Previous.Sum, &r.Previous.Pepper, &previous, &r.RequestsPerMinute, &r.Revision,
	}
	if err := from.Scan(append(append(dest, a.dest()...), &used)...); err != nil {
		return Record{}, err
	}
	err := unmarshal(roles, &r.Roles)
	if err == nil {
		err = unmarshal(groups, &r.Groups)
	}
	if err == nil {
		r.Grant, err = readGrant(g.scopes, g.models, g.collections, g.networks)
	}
	if err == nil && a.id.Valid {
		r.Account, err = a.account()
	}
	if err != nil {
		return Record{}, fmt.Errorf("key %s: %w", r.ID, err)
	}
	r.CreateTime, r.UpdateTime, r.ExpireTime, r.RevokeTime = sqldb.FromMicros(created), sqldb.FromMicros(updated), sqldb.FromMicros(expire), sqldb.FromMicros(revoke)
	r.RotateTime, r.PreviousExpireTime, r.LastUseTime = sqldb.FromMicros(rotate), sqldb.FromMicros(previous), sqldb.FromMicros(used)
	return r, nil
}

type grantRow[T any] struct{ scopes, models, collections, networks T }

// accountRow may be one of nulls.
type accountRow struct {
	tenant, id, name, description, roles, groups, owner, creator sql.NullString
	grant                                                        grantRow[sql.NullString]
	disabled, created, updated, revision                         sql.NullInt64
}

func (a *accountRow) dest() []any {
	return []any{
		&a.tenant, &a.id, &a.name, &a.description, &a.roles, &a.groups,
		&a.grant.scopes, &a.grant.models, &a.grant.collections, &a.grant.networks, &a.owner, &a.creator,
		&a.disabled, &a.created, &a.updated, &a.revision,
	}
}

func (a *accountRow) account() (*Account, error) {
	out := &Account{
		Tenant: a.tenant.String, ID: a.id.String, DisplayName: a.name.String, Description: a.description.String,
		Owner: a.owner.String, Creator: a.creator.String, Disabled: a.disabled.Int64 != 0,
		CreateTime: sqldb.FromMicros(a.created.Int64), UpdateTime: sqldb.FromMicros(a.updated.Int64), Revision: a.revision.Int64,
	}
	err := unmarshal(a.roles.String, &out.Roles)
	if err == nil {
		err = unmarshal(a.groups.String, &out.Groups)
	}
	if err == nil {
		g := a.grant
		out.Grant, err = readGrant(g.scopes.String, g.models.String, g.collections.String, g.networks.String)
	}
	if err != nil {
		return nil, fmt.Errorf("service account %s: %w", out.ID, err)
	}
	return out, nil
}

func scanAccount(from row) (Account, error) {
	var a accountRow
	if err := from.Scan(a.dest()...); err != nil {
		return Account{}, err
	}
	out, err := a.account()
	if err != nil {
		return Account{}, err
	}
	return *out, nil
}

func (a Account) values() []any {
	return append(append([]any{a.Tenant, a.ID, a.DisplayName, a.Description, texts(a.Roles), texts(a.Groups)}, grantValues(a.Grant)...),
		a.Owner, a.Creator, flag(a.Disabled), sqldb.Micros(a.CreateTime), sqldb.Micros(a.UpdateTime), a.Revision)
}

func (r Record) values() []any {
	return append(append([]any{r.ID, r.Name, r.Tenant, r.Subject, texts(r.Roles), texts(r.Groups), r.Secret.Sum, r.Secret.Pepper}, grantValues(r.Grant)...),
		r.Owner, r.Creator, r.ServiceAccount,
		sqldb.Micros(r.CreateTime), sqldb.Micros(r.UpdateTime), sqldb.Micros(r.ExpireTime), sqldb.Micros(r.RevokeTime), sqldb.Micros(r.RotateTime),
		r.Previous.Sum, r.Previous.Pepper, sqldb.Micros(r.PreviousExpireTime), r.RequestsPerMinute, r.Revision)
}

func grantValues(g grant.Grant) []any {
	return []any{texts(g.Scopes), texts(g.Models), texts(g.Collections), texts(g.Networks)}
}

func readGrant(scopes, models, collections, networks string) (grant.Grant, error) {
	var g grant.Grant
	err := unmarshal(scopes, &g.Scopes)
	if err == nil {
		err = unmarshal(models, &g.Models)
	}
	if err == nil {
		err = unmarshal(collections, &g.Collections)
	}
	if err == nil {
		err = unmarshal(networks, &g.Networks)
	}
	return g, err
}

// texts is a list as it is stored. It always is one of texts or networks, which
// can be written.
func texts[T string | netip.Prefix](list []T) string {
	if len(list) == 0 {
		return "[]"
	}
	data, err := json.Marshal(list)
	if err != nil {
		panic(fmt.Sprintf("apikey: encode a list of texts: %v", err))
	}
	return string(data)
}

// unmarshal reads a list; an empty one is nil.
func unmarshal[T any](text string, list *[]T) error {
	if text == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(text), list)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
