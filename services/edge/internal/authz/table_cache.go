package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// cacheMethods: what is kept of a tenant's answers is the tenant's.
func cacheMethods() map[string]Method {
	return map[string]Method{
		edgev1.CacheService_PurgeCache_FullMethodName:    {Type: "cache", Action: "purge", Tenant: tenant},
		edgev1.CacheService_GetCacheStats_FullMethodName: {Type: "cache", Action: "get", Tenant: tenant},
	}
}
