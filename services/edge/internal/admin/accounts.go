package admin

import (
	"cmp"
	"context"
	"errors"
	"log/slog"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/grant"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// keyServiceAccount is the log key of an account's id.
const keyServiceAccount = "service_account"

// CreateServiceAccount makes an account, in the caller's tenant unless the caller
// administers the platform.
func (s *Server) CreateServiceAccount(ctx context.Context, req *edgev1.CreateServiceAccountRequest) (*edgev1.CreateServiceAccountResponse, error) {
	c, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	want := req.GetServiceAccount()
	a := apikey.Account{
		Tenant: cmp.Or(want.GetTenant(), c.Tenant), ID: want.GetId(), DisplayName: want.GetDisplayName(), Description: want.GetDescription(),
		Roles: sorted(want.GetRoles()), Groups: want.GetGroups(), Owner: want.GetOwner(), Creator: c.Subject, Disabled: want.GetDisabled(),
	}
	if a.ID == "" {
		return nil, apierr.Invalid("service_account.id", "service_account.id must not be empty")
	}
	if res := accountResource(apikey.AccountID{Tenant: a.Tenant, ID: a.ID}); !s.authz.Allowed(ctx, c, "create", res) {
		return nil, authz.Refusal("create", res)
	}
	if err := s.accountTexts(want); err != nil {
		return nil, err
	}
	if a.Grant, err = s.parseGrant(want, "service_account."); err != nil {
		return nil, err
	}
	if err := s.knownRoles(want.GetRoles()); err != nil {
		return nil, err
	}
	if err := s.mayGive(ctx, c, a.Tenant, a.Roles, a.Grant); err != nil {
		return nil, err
	}
	if err := s.maySpeakFor(ctx, c, a.Tenant, "", a.Groups); err != nil {
		return nil, err
	}
	if a, err = s.accounts.CreateAccount(ctx, a); errors.Is(err, apikey.ErrExists) {
		return nil, apierr.New(apierr.AlreadyExists, "there is a service account %q already", want.GetId())
	}
	if err != nil {
		return nil, storeError(err)
	}
	s.told(ctx, "created", a)
	return &edgev1.CreateServiceAccountResponse{ServiceAccount: accountMessage(a)}, nil
}

func (s *Server) told(ctx context.Context, what string, a apikey.Account) {
	s.log.InfoContext(ctx, "a service account was changed", slog.String("what", what), slog.String(keyServiceAccount, a.ID), slog.String(metrics.KeyTenant, a.Tenant))
	audit.From(ctx).SetResource("service-account/" + a.ID)
}

func (s *Server) accountTexts(m *edgev1.ServiceAccount) error {
	for field, text := range map[string]string{"display_name": m.GetDisplayName(), "owner": m.GetOwner()} {
		if err := printable("service_account."+field, text); err != nil {
			return err
		}
	}
	return nil
}

func accountResource(id apikey.AccountID) authz.Resource {
	return authz.Resource{Type: "service-account", ID: id.ID, Tenant: id.Tenant}
}

// named is a request about one account.
type named interface {
	GetId() string
	GetTenant() string
}

// findAccount returns an account that the caller may do action to. Another
// tenant's is answered as one that does not exist.
func (s *Server) findAccount(ctx context.Context, req named, action string) (identity.Caller, apikey.Account, error) {
	c, err := caller(ctx)
	if err != nil {
		return c, apikey.Account{}, err
	}
	id := apikey.AccountID{Tenant: cmp.Or(req.GetTenant(), c.Tenant), ID: req.GetId()}
	if !s.authz.Allowed(ctx, c, action, accountResource(id)) {
		return c, apikey.Account{}, storeError(apikey.ErrNoAccount)
	}
	a, err := s.accounts.GetAccount(ctx, id)
	if err != nil {
		return c, apikey.Account{}, storeError(err)
	}
	return c, a, nil
}

// GetServiceAccount returns an account that the caller may see.
func (s *Server) GetServiceAccount(ctx context.Context, req *edgev1.GetServiceAccountRequest) (*edgev1.GetServiceAccountResponse, error) {
	_, a, err := s.findAccount(ctx, req, "get")
	if err != nil {
		return nil, err
	}
	return &edgev1.GetServiceAccountResponse{ServiceAccount: accountMessage(a)}, nil
}

// accountPosition is where a list of accounts goes on.
type accountPosition struct{ Tenant, ID string }

// ListServiceAccounts lists the accounts of the caller's tenant; of all tenants for
// administrators of the platform.
func (s *Server) ListServiceAccounts(ctx context.Context, req *edgev1.ListServiceAccountsRequest) (*edgev1.ListServiceAccountsResponse, error) {
	c, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	var after accountPosition
	if err := readToken(req.GetPageToken(), &after, func(p accountPosition) string { return p.ID }); err != nil {
		return nil, err
	}
	size, out := pageSize(req.GetPageSize()), &edgev1.ListServiceAccountsResponse{}
	f := apikey.AccountFilter{Tenant: s.visibleTenant(ctx, c, "service-account"), After: apikey.AccountID(after), Limit: size + 1}
	if req.GetTenant() != "" {
		if f.Tenant != "" && f.Tenant != req.GetTenant() {
			return out, nil // none that the caller may see
		}
		f.Tenant = req.GetTenant()
	}
	accounts, err := s.accounts.ListAccounts(ctx, f)
	if err != nil {
		return nil, storeError(err)
	}
	if len(accounts) > size {
		accounts = accounts[:size]
		out.NextPageToken = writeToken(accountPosition{accounts[size-1].Tenant, accounts[size-1].ID})
	}
	for _, a := range accounts {
		out.ServiceAccounts = append(out.ServiceAccounts, accountMessage(a))
	}
	return out, nil
}

// DisableServiceAccount ends an account's keys until it is enabled.
func (s *Server) DisableServiceAccount(ctx context.Context, req *edgev1.DisableServiceAccountRequest) (*edgev1.DisableServiceAccountResponse, error) {
	a, err := s.setDisabled(ctx, req, "disable", true)
	if err != nil {
		return nil, err
	}
	return &edgev1.DisableServiceAccountResponse{ServiceAccount: accountMessage(a)}, nil
}

// EnableServiceAccount lets an account's keys hold again.
func (s *Server) EnableServiceAccount(ctx context.Context, req *edgev1.EnableServiceAccountRequest) (*edgev1.EnableServiceAccountResponse, error) {
	a, err := s.setDisabled(ctx, req, "enable", false)
	if err != nil {
		return nil, err
	}
	return &edgev1.EnableServiceAccountResponse{ServiceAccount: accountMessage(a)}, nil
}

func (s *Server) setDisabled(ctx context.Context, req named, action string, disabled bool) (apikey.Account, error) {
	_, a, err := s.findAccount(ctx, req, action)
	if err != nil || a.Disabled == disabled {
		return a, err
	}
	a, err = s.accounts.UpdateAccount(ctx, apikey.AccountID{Tenant: a.Tenant, ID: a.ID}, func(a *apikey.Account) error {
		a.Disabled = disabled
		return nil
	})
	if err != nil {
		return a, storeError(err)
	}
	s.told(ctx, action+"d", a)
	return a, nil
}

// DeleteServiceAccount deletes an account.
func (s *Server) DeleteServiceAccount(ctx context.Context, req *edgev1.DeleteServiceAccountRequest) (*edgev1.DeleteServiceAccountResponse, error) {
	_, a, err := s.findAccount(ctx, req, "delete")
	if err != nil {
		return nil, err
	}
	err = s.accounts.DeleteAccount(ctx, apikey.AccountID{Tenant: a.Tenant, ID: a.ID}, req.GetForce())
	if errors.Is(err, apikey.ErrHasKeys) {
		return nil, apierr.New(apierr.FailedPrecondition, "the service account %q has keys that hold: revoke them, or set force", a.ID)
	}
	if err != nil {
		return nil, storeError(err)
	}
	s.told(ctx, "deleted", a)
	return &edgev1.DeleteServiceAccountResponse{}, nil
}

type accountChange = change[*edgev1.ServiceAccount, apikey.Account]

// UpdateServiceAccount changes an account.
func (s *Server) UpdateServiceAccount(ctx context.Context, req *edgev1.UpdateServiceAccountRequest) (*edgev1.UpdateServiceAccountResponse, error) {
	c, a, err := s.findAccount(ctx, req, "update")
	if err != nil {
		return nil, err
	}
	changes, err := s.accountChanges(ctx, c, a.Tenant, req)
	if err != nil {
		return nil, err
	}
	a, err = s.accounts.UpdateAccount(ctx, apikey.AccountID{Tenant: a.Tenant, ID: a.ID}, func(a *apikey.Account) error {
		if req.GetEtag() != "" && req.GetEtag() != etag(storedAccount(*a)) {
			return apikey.ErrChanged
		}
		before := a.Grant
		for _, ch := range changes {
			ch.apply(a)
		}
		if a.Grant.Beyond(before) != "" {
			if err := s.mayGive(ctx, c, a.Tenant, a.Roles, ownGrant(ctx)); err != nil {
				return err
			}
		}
		if list := changedGrant(changes, a.Grant, ownGrant(ctx)).Beyond(ownGrant(ctx)); list != "" {
			return apierr.New(apierr.PermissionDenied, "your own credentials are narrowed in %s: you may not give more", list).
				WithField("service_account." + list)
		}
		return nil
	})
	if err != nil {
		return nil, storeError(err)
	}
	s.told(ctx, "changed", a)
	return &edgev1.UpdateServiceAccountResponse{ServiceAccount: accountMessage(a)}, nil
}

func (s *Server) accountChanges(ctx context.Context, c identity.Caller, tenant string, req *edgev1.UpdateServiceAccountRequest) ([]accountChange, error) {
	want := req.GetServiceAccount()
	g, err := s.parseGrant(want, "service_account.")
	if err != nil {
		return nil, err
	}
	if err := s.accountTexts(want); err != nil {
		return nil, err
	}
	type message = *edgev1.ServiceAccount
	changes, err := chosen(req.GetUpdateMask(), want, append([]accountChange{
		{"display_name", func(m message) bool { return m.GetDisplayName() != "" }, func(a *apikey.Account) { a.DisplayName = want.GetDisplayName() }},
		{"description", func(m message) bool { return m.GetDescription() != "" }, func(a *apikey.Account) { a.Description = want.GetDescription() }},
		{"owner", func(m message) bool { return m.GetOwner() != "" }, func(a *apikey.Account) { a.Owner = want.GetOwner() }},
		{"roles", func(m message) bool { return len(m.GetRoles()) > 0 }, func(a *apikey.Account) { a.Roles = sorted(want.GetRoles()) }},
		{"groups", func(m message) bool { return len(m.GetGroups()) > 0 }, func(a *apikey.Account) { a.Groups = want.GetGroups() }},
	}, grantChanges[message](g, func(a *apikey.Account) *grant.Grant { return &a.Grant })...))
	if err == nil && names(changes, "groups") {
		err = s.maySpeakFor(ctx, c, tenant, "", want.GetGroups())
	}
	if err != nil || !names(changes, "roles") {
		return changes, err
	}
	if err := s.knownRoles(want.GetRoles()); err != nil {
		return nil, err
	}
	return changes, s.mayGive(ctx, c, tenant, want.GetRoles(), ownGrant(ctx))
}

func accountMessage(a apikey.Account) *edgev1.ServiceAccount {
	out := storedAccount(a)
	out.Etag = etag(out)
	return out
}

func storedAccount(a apikey.Account) *edgev1.ServiceAccount {
	return &edgev1.ServiceAccount{
		Id: a.ID, Tenant: a.Tenant, DisplayName: a.DisplayName, Description: a.Description, Roles: a.Roles, Groups: a.Groups, Owner: a.Owner,
		Scopes: a.Grant.Scopes, Models: a.Grant.Models, Collections: a.Grant.Collections, Networks: networkTexts(a.Grant.Networks),
		Disabled: a.Disabled, CreateTime: timestamp(a.CreateTime), UpdateTime: timestamp(a.UpdateTime), Creator: a.Creator,
	}
}
