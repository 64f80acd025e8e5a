//go:build real

package security

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/testkit"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// Whatever ends a key, or part of what it is for, on one edge is seen by another
// within a second, while both are busy and keys are made all the time.
func TestRealEveryEdgeSeesAChangeWithinASecond(t *testing.T) {
	dsn := testkit.Postgres(t).DSN
	many := func(c *Config) {
		c.Limits.RequestsPerMinute, c.Limits.Address.RequestsPerMinute = 1_000_000, 0
	}
	one, two := open(t, dsn, many), open(t, dsn, many)
	root := as(t, one.root(t))
	busy(t, root, one, two)

	key := func(account string) (*edgev1.ApiKey, string) {
		t.Helper()
		req := &edgev1.CreateApiKeyRequest{ServiceAccount: account}
		if account == "" {
			req.Roles = []string{"admin"}
		}
		made := one.create(t, root, req)
		return made.GetApiKey(), made.GetKey()
	}
	account := func(id string) {
		t.Helper()
		_, err := one.accounts.CreateServiceAccount(root, &edgev1.CreateServiceAccountRequest{
			ServiceAccount: &edgev1.ServiceAccount{Id: id, Roles: []string{"admin"}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, end := range map[string]func(t *testing.T) (text string, change func() error){
		"revoked": func(*testing.T) (string, func() error) {
			k, text := key("")
			return text, func() error {
				_, err := one.admin.RevokeApiKey(root, &edgev1.RevokeApiKeyRequest{Id: k.GetId()})
				return err
			}
		},
		"narrowed": func(*testing.T) (string, func() error) {
			k, text := key("")
			return text, func() error {
				_, err := one.admin.UpdateApiKey(root, &edgev1.UpdateApiKeyRequest{
					Id: k.GetId(), ApiKey: &edgev1.ApiKey{Scopes: []string{"model:chat"}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"scopes"}},
				})
				return err
			}
		},
		"rotated": func(*testing.T) (string, func() error) {
			k, text := key("")
			return text, func() error {
				_, err := one.admin.RotateApiKey(root, &edgev1.RotateApiKeyRequest{Id: k.GetId()})
				return err
			}
		},
		"account disabled": func(*testing.T) (string, func() error) {
			account("off")
			_, text := key("off")
			return text, func() error {
				_, err := one.accounts.DisableServiceAccount(root, &edgev1.DisableServiceAccountRequest{Id: "off"})
				return err
			}
		},
		"account deleted": func(*testing.T) (string, func() error) {
			account("gone")
			_, text := key("gone")
			return text, func() error {
				_, err := one.accounts.DeleteServiceAccount(root, &edgev1.DeleteServiceAccountRequest{Id: "gone", Force: true})
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, change := end(t)
			took := lastSuccess(t, two, text, change)
			t.Logf("the last success on the other edge came %v after the answer", took)
			if took > time.Second {
				t.Errorf("the key went on for %v", took)
			}
		})
	}
}

// lastSuccess makes a change while the key is used on e, and returns how long
// after the change's answer a request was begun that succeeded.
func lastSuccess(t *testing.T, e edge, text string, change func() error) time.Duration {
	t.Helper()
	ctx := as(t, text)
	use := func() error {
		_, err := e.admin.ListApiKeys(ctx, &edgev1.ListApiKeysRequest{PageSize: 1})
		return err
	}
	if err := use(); err != nil {
		t.Fatal(err)
	}
	changed := make(chan time.Time, 1)
	go func() {
		if err := change(); err != nil {
			t.Error(err)
		}
		changed <- time.Now()
	}()
	var last time.Time
	for refused := 0; refused < 20; {
		begun := time.Now()
		switch err := use(); apierr.ReasonOf(err) {
		case "":
			last, refused = begun, 0
		case apierr.Unauthenticated, apierr.PermissionDenied:
			refused++
		default:
			t.Fatal(err)
		}
		if err := clock.Sleep(t.Context(), clock.Real(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	return last.Sub(<-changed)
}

// busy has both edges serve and the first one make keys until the test ends.
func busy(t *testing.T, root context.Context, one, two edge) { //nolint:revive // the caller comes second
	t.Helper()
	ctx, cancel := context.WithCancel(root)
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	for i, e := range []edge{one, two, two} {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				var err error
				if i == 0 {
					_, err = e.admin.CreateApiKey(ctx, &edgev1.CreateApiKeyRequest{Name: fmt.Sprint(os.Getpid(), n), Roles: []string{"reader"}})
				} else {
					_, err = e.admin.ListApiKeys(ctx, &edgev1.ListApiKeysRequest{PageSize: 10})
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
}
