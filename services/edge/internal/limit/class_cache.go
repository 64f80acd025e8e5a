package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// cacheClasses is the part of Table about the response cache.
func cacheClasses() map[string]Class {
	return map[string]Class{
		edgev1.CacheService_PurgeCache_FullMethodName:    Write,
		edgev1.CacheService_GetCacheStats_FullMethodName: Read,
	}
}
