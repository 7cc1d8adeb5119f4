def test_x(acme):
    """x."""
    import time
    t=time.time(); print(acme.head()); print(time.time()-t)
    t=time.time(); r=acme.quick("waves","init","v48","48","release","-k","keys/targets.only.key.tgz"); print(r); print(time.time()-t)
    t=time.time(); r=acme.quick("waves","init","v48","48","release","-k","nokeys/targets.only.key.tgz"); print(r); print(time.time()-t)
    t=time.time(); r=acme.quick("waves","init","v48","48","release"); print(r); print(time.time()-t)
    t=time.time(); r=acme.quick("devices","show","gw-001"); print(time.time()-t)
    t=time.time(); r=acme.run("status"); print(r, time.time()-t)
