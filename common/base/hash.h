/* A stable 64-bit hash of short texts, for phases and samples: FNV-1a with the finaliser of MurmurHash3, since
 * FNV's low bits of similar names are not flat enough for a modulus. Never change it: a fleet of two versions
 * would be spread by two functions. Not for untrusted keys of hash tables. */
#ifndef PROFEFE_HASH_H
#define PROFEFE_HASH_H

#include <stdint.h>

/* Hash of text and a small number that tells several hashes of one text apart. */
static inline uint64_t hash_text(const char *text, uint64_t salt)
{
    uint64_t h = 14695981039346656037ULL;
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211ULL;
    h ^= salt * 0x9E3779B97F4A7C15ULL;
    h ^= h >> 33;
    h *= 0xFF51AFD7ED558CCDULL;
    h ^= h >> 33;
    h *= 0xC4CEB9FE1A85EC53ULL;
    return h ^ (h >> 33);
}

/* A number in [0, range) from a hash, without the bias of a modulus for ranges far below 2^32. */
static inline int64_t hash_to_range(uint64_t hash, int64_t range)
{
    return range > 0 ? (int64_t)((unsigned __int128)hash * (uint64_t)range >> 64) : 0;
}

#endif
