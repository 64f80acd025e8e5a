package main

import (
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/internal/memcache"
	"github.com/poterne/poterne/services/edge/internal/rediscache"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

func openSharedCache(c edge.SharedCacheConfig) (edge.SharedCache, error) {
	if c.Backend == respcache.BackendMemcache {
		return memcache.Open(c.Addrs, c.Timeout)
	}
	return rediscache.Open(rediscache.Options{
		Addrs: c.Addrs, Cluster: c.Backend == respcache.BackendCluster, Master: c.Master,
		Username: c.Username, Password: c.Password.Reveal(), DB: c.DB, Timeout: c.Timeout,
	}), nil
}
