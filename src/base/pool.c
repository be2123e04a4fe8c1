/* base/pool.c: threads that decode and read ahead while the compute thread works.
 *
 * A ring of jobs under one lock: a job is a picture decoded, milliseconds, so finer queues would buy nothing. With
 * zero threads a job runs inside pool_submit, which makes a loader easy to debug. Signals stay with the main thread.
 * Rejected: OpenMP tasks (one OpenMP runtime, and it belongs to room kernel). */
#include "base/base.h"

#include <pthread.h>
#include <signal.h>

struct job {
    void (*fn)(void *arg);
    void *arg;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct job *ring;
    size_t cap, first, queued, running;
    bool closing;
    int n_threads;
    pthread_t *threads;
};

static void *serve(void *arg)
{
    struct pool *p = arg;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct job job;

        while (!p->queued && !p->closing)
            pthread_cond_wait(&p->work, &p->lock);
        if (!p->queued)
            break;
        job = p->ring[p->first];
        p->first = (p->first + 1) % p->cap;
        p->queued--;
        p->running++;
        pthread_mutex_unlock(&p->lock);
        job.fn(job.arg);
        pthread_mutex_lock(&p->lock);
        p->running--;
        if (!p->queued && !p->running)
            pthread_cond_broadcast(&p->idle);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int start_threads(struct pool *p, int n)
{
    sigset_t all, before;
    int rc = 0;

    sigfillset(&all);
    sigdelset(&all, SIGSEGV); /* faults belong to the thread that made them */
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* threads inherit the mask */
    while (rc == 0 && p->n_threads < n) {
        rc = pthread_create(&p->threads[p->n_threads], NULL, serve, p);
        p->n_threads += rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc)
        FAIL(ERR_FAIL, "could start only %d of %d loader threads; ask for fewer", p->n_threads, n);
    return 0;
}

int pool_open(struct pool **out, int n_threads)
{
    struct pool *p;
    int rc;

    if (n_threads < 0 || n_threads > 1024)
        FAIL(ERR_USAGE, "loader threads are %d, expected a whole number in [0, 1024]", n_threads);
    p = mem_calloc(1, sizeof *p);
    if (!p)
        return ERR_MEMORY;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->idle, NULL);
    p->threads = mem_calloc((size_t)n_threads, sizeof *p->threads);
    rc = p->threads ? start_threads(p, n_threads) : ERR_MEMORY;
    if (rc < 0)
        pool_close(&p);
    else
        *out = p;
    return rc;
}

/* Doubles the ring, the oldest job first. The lock is held. */
static int grow(struct pool *p)
{
    size_t cap = p->cap ? 2 * p->cap : 64;
    struct job *ring = mem_calloc(cap, sizeof *ring);

    if (!ring)
        return ERR_MEMORY;
    for (size_t i = 0; i < p->queued; i++)
        ring[i] = p->ring[(p->first + i) % p->cap];
    mem_free(p->ring);
    p->ring = ring;
    p->cap = cap;
    p->first = 0;
    return 0;
}

int pool_submit(struct pool *p, void (*fn)(void *arg), void *arg)
{
    int rc = 0;

    if (p->n_threads == 0) {
        fn(arg);
        return 0;
    }
    pthread_mutex_lock(&p->lock);
    if (p->queued == p->cap)
        rc = grow(p);
    if (rc == 0) {
        p->ring[(p->first + p->queued++) % p->cap] = (struct job){fn, arg};
        pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

void pool_wait(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->queued || p->running)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void pool_close(struct pool **out)
{
    struct pool *p = *out;

    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
    mem_free(p->threads);
    mem_free(p->ring);
    mem_free(p);
    *out = NULL;
}
