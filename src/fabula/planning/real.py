import sys,torch,json
sys.path.insert(0,'/tmp')
from transformers import LlamaConfig
from fabula.planning.tracing import trace
from fabula.planning.configs import config_of
from fabula.training.recipe import Recipe
from fabula.training import models,loss,attention
import subprocess,tempfile
from pathlib import Path
src=open('/tmp/cpu_plan.py').read(); RUN=src[src.index("RUN='''")+7:src.index("'''\nfrom fabula")]
import resource
for method in ("full","qlora","lora"):
    d=tempfile.mkdtemp()
    subprocess.run([sys.executable,"-c",RUN,json.dumps(["llama",256,704,4,method,8,512,d,False])],check=True,capture_output=True)
    rec=dict(name="r",base_model=d+"/model",method=method,lora=dict(r=16,dropout=.05),data=[dict(corpus="sample")],sequence_length=512,steps=1,dtype="bfloat16")
    r=Recipe.model_validate(rec)
    torch.manual_seed(0)
    m=models.load_base(d+"/model",r)
    if method!="full": m=models.add_adapter(m,r)
    L=loss.choose(m,5000) ; m.train()
    ids=torch.randint(0,5000,(1,4096)); pos=torch.cat([torch.arange(512)]*8)[None]
    held={}
    def keep(t):
        s=t.untyped_storage(); held.setdefault(s._cdata,(s,tuple(t.shape),t.dtype)); return t
    from fabula.training.packing import Document,collate
    batch=collate([[Document(str(n),0,ids[0,n*512:(n+1)*512].tolist(),ids[0,n*512:(n+1)*512].tolist()) for n in range(8)]],0,1.0)
    own={p.untyped_storage()._cdata for p in [*m.parameters(),*m.buffers()]}
    with torch.autograd.graph.saved_tensors_hooks(keep,lambda t:t), torch.autocast("cpu",torch.bfloat16):
        out=L.total(batch) if hasattr(L,"total") else L(batch)
    import collections
    tot=sum(s.nbytes() for k,(s,_,_) in held.items() if k not in own)
    t=trace(config_of(d+"/model"),r,torch.float32,True,False)
    print(method,"real per token",round(tot/4096),"traced",round(t.layers*t.saved+t.rest))
    c=collections.Counter()
    for k,(s,sh,dt) in held.items():
        if k not in own: c[(sh,str(dt),s.nbytes()//4096)]+=1
    for k,v in sorted(c.items(),key=lambda kv:-kv[0][2]*kv[1])[:14]: print("    ",k,v)
